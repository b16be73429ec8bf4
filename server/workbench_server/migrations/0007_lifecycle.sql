-- Finding runs by what they say, by session and by parent; what they left behind; and what becomes
-- of those nobody writes to any more.

-- None of these changes with a batch of a running run, so that its update stays in its page.
create index runs_ended on runs (workspace_id, ended_at desc nulls last, run_id desc);
create index runs_sessions on runs (workspace_id, session) where session is not null;
create index runs_forks on runs (workspace_id, parent_run_id) where parent_run_id is not null;
create index runs_running on runs (workspace_id, run_id) where status = 'running' and not closed;
create index runs_behind on runs (workspace_id, run_id) where health = 'gap';

-- How many messages a run's conversation has; null until the worker has read it.
alter table runs add column messages bigint;

-- What a run made: one row for each artifact_created event, written with it.
create table run_artifacts (
  workspace_id uuid not null,
  run_id uuid not null,
  seq bigint not null,
  sha256 bytea not null constraint run_artifacts_sha256 check (octet_length(sha256) = 32),
  media_type text not null,
  size bigint not null constraint run_artifacts_size check (size >= 0),
  entity_type text,
  tags text[] not null default '{}',
  created_at timestamptz not null default now(),
  constraint run_artifacts_key primary key (workspace_id, run_id, seq),
  constraint run_artifacts_run foreign key (workspace_id, run_id) references runs on delete cascade
);
create index run_artifacts_recent
on run_artifacts (workspace_id, created_at desc, run_id desc, seq desc);
create index run_artifacts_types
on run_artifacts (workspace_id, entity_type, created_at desc, run_id desc, seq desc)
where entity_type is not null;
create index run_artifacts_bytes on run_artifacts (workspace_id, sha256);
alter table run_artifacts enable row level security;
alter table run_artifacts force row level security;
create policy workspace_only on run_artifacts
using (workspace_id = current_setting('workbench.workspace')::uuid);
grant select, insert, update, delete on run_artifacts to workbench_app, workbench_worker;

-- A run's own words: its name, agent, source, session, and its labels with their values. The parser
-- takes a path or a dotted name for one word, so the parts of such words are said once more.
create function words_of_run(name text, agent text, source text, session text, labels jsonb)
returns tsvector
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select to_tsvector('simple'::regconfig, said.words)
    || to_tsvector('simple'::regconfig, translate(said.words, '/:._-#=@', '        '))
  from (
    select left(
      concat_ws(' ', name, agent, source, session, string_agg(l.key || ' ' || l.value, ' ')), 50000
    ) as words
    from jsonb_each_text(labels) as l
  ) said
$$;

-- They stand beside the words of its messages, as those of seq 0, so that one index finds both.
create function fill_run_words() returns trigger
language plpgsql
set search_path = public, pg_temp
as $$
begin
  insert into messages_text (workspace_id, run_id, seq, tsv)
  values (
    new.workspace_id, new.run_id, 0,
    words_of_run(new.name, new.agent, new.source, new.session, new.labels)
  )
  on conflict on constraint messages_text_key do update set tsv = excluded.tsv;
  return null;
end
$$;
revoke all on function fill_run_words() from public;
create trigger runs_words after insert or update of name, agent, source, session, labels on runs
for each row execute function fill_run_words();

do $$
declare
  w uuid;
begin
  for w in select workspace_id from workspaces loop
    perform set_config('workbench.workspace', w::text, true);
    insert into messages_text (workspace_id, run_id, seq, tsv)
    select workspace_id, run_id, 0, words_of_run(name, agent, source, session, labels) from runs
    where workspace_id = w;
  end loop;
end
$$;

-- The runs of this workspace that say these words in a row. A policy's table is never searched by
-- the index of words: `@@` might tell what it saw, so it has to wait for the policy. Here the
-- workspace is named instead, and what comes back only narrows a query that the policy binds.
create function runs_saying(phrase text) returns setof uuid
language sql stable strict security definer rows 200
set search_path = pg_catalog, public, pg_temp
set enable_seqscan = off
as $$
  select distinct t.run_id from public.messages_text t
  where t.workspace_id = current_setting('workbench.workspace')::uuid
    and t.tsv @@ phraseto_tsquery('simple', phrase)
$$;

-- Whether more than so many texts say these words: then it is quicker to ask each run in turn.
create function said_often(phrase text, most integer) returns boolean
language sql stable strict security definer
set search_path = pg_catalog, public, pg_temp
set enable_seqscan = off
as $$
  select count(*) > most from (
    select from public.messages_text t
    where t.workspace_id = current_setting('workbench.workspace')::uuid
      and t.tsv @@ phraseto_tsquery('simple', phrase)
    limit most + 1
  ) said
$$;
revoke all on function runs_saying(text), said_often(text, integer) from public;
grant execute on function runs_saying(text), said_often(text, integer) to workbench_app;

-- Runs whose writer fell silent are lost, and those that ended without all that was announced are
-- incomplete; a writer that comes back undoes either. A run that is being written to is locked, and
-- therefore left alone. Both spans are seconds of silence by this machine's own clock: what a
-- writer's clock says of its end may be hours away.
create function sweep_runs(lost_after double precision, incomplete_after double precision)
returns table (swept_workspace_id uuid, swept_run_id uuid, status text, health text)
language plpgsql security definer
set search_path = pg_catalog, public, pg_temp
set "workbench.workspace" = ''
as $$
declare
  w uuid;
begin
  for w in select workspace_id from public.workspaces order by workspace_id loop
    perform set_config('workbench.workspace', w::text, true);
    return query
    with silent as (
      select r.run_id from public.runs r
      where r.workspace_id = w and r.status = 'running' and not r.closed
        and r.heard_at < now() - make_interval(secs => lost_after)
      for update skip locked
    )
    update public.runs r set status = 'lost', changed_at = now()
    from silent s where r.workspace_id = w and r.run_id = s.run_id
    returning r.workspace_id, r.run_id, r.status, r.health;
    return query
    with behind as (
      select r.run_id from public.runs r
      where r.workspace_id = w and r.health = 'gap' and r.closed
        and r.heard_at < now() - make_interval(secs => incomplete_after)
      for update skip locked
    )
    update public.runs r set health = 'incomplete', changed_at = now(), snapshot_due = true
    from behind s where r.workspace_id = w and r.run_id = s.run_id
    returning r.workspace_id, r.run_id, r.status, r.health;
  end loop;
end
$$;
revoke all on function sweep_runs(double precision, double precision) from public;
grant execute on function sweep_runs(double precision, double precision) to workbench_worker;
