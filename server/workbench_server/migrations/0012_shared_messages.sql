-- A message knows the run that sent it first, so only what runs share needs a link: one row for each
-- batch that says something which another run said before.

alter table messages add column run_id uuid;
-- Alike keys stand in it once, so it takes a few bytes a message.
create index messages_runs on messages (workspace_id, run_id);

create table shared_messages (
  workspace_id uuid not null,
  run_id uuid not null,
  seq bigint not null,
  digests bytea[] not null constraint shared_messages_some check (cardinality(digests) > 0),
  constraint shared_messages_key primary key (workspace_id, run_id, seq)
);
-- Hashes do not compress.
alter table shared_messages alter column digests set storage external;
alter table shared_messages enable row level security;
alter table shared_messages force row level security;
create policy workspace_only on shared_messages
using (workspace_id = current_setting('workbench.workspace')::uuid);
grant select, insert, update, delete on shared_messages to workbench_app, workbench_worker;

-- Of the runs that say a message, the one made first is the one that sent it. What nobody says any
-- more stays nobody's.
do $$
declare
  w uuid;
begin
  for w in select workspace_id from workspaces loop
    perform set_config('workbench.workspace', w::text, true);
    update messages m set run_id = f.run_id
    from (
      select distinct on (l.digest) l.digest, l.run_id
      from run_messages l
      left join runs r on r.workspace_id = w and r.run_id = l.run_id
      where l.workspace_id = w
      order by l.digest, r.created_at, l.run_id
    ) f
    where m.workspace_id = w and m.digest = f.digest;
    insert into shared_messages (workspace_id, run_id, seq, digests)
    select w, l.run_id, 1, array_agg(l.digest order by l.digest)
    from run_messages l
    join messages m on m.workspace_id = w and m.digest = l.digest
    where l.workspace_id = w and m.run_id <> l.run_id
    group by l.run_id;
  end loop;
end
$$;
drop table run_messages;

-- Indexes in which alike keys stand once take a few bytes a run: what would tell them apart is left out
-- where nobody needs it.

-- Runs that were made in one transaction are put in order by whoever lists them.
drop index runs_recent;
create index runs_recent on runs (workspace_id, created_at desc);

-- The sweeps take these in any order.
drop index runs_running;
create index runs_running on runs (workspace_id) where status = 'running' and not closed;
drop index runs_behind;
create index runs_behind on runs (workspace_id) where health = 'gap';

-- One key for both: a run's row of today, and all rows of some days.
drop index run_usage_days;
alter table run_usage drop constraint run_usage_key;
alter table run_usage add constraint run_usage_key primary key (workspace_id, day, run_id);

-- A run's row is written anew with each batch and by the worker: with room for it in its page, most
-- of these leave the indexes alone, and what they leave behind is cleared on the way.
alter table runs set (fillfactor = 50);

-- As before, but for where messages and their links go.
create or replace function append_batches(
  workspace uuid, batches json, rows json, payloads bytea,
  digests bytea[], bodies bytea[], owners integer[]
)
returns bigint[]
language plpgsql
set search_path = public, pg_temp
-- Every look goes by a key. Statistics of a young table must never talk the planner out of that.
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
  ids uuid[];
  firsts bigint[];
begin
  perform set_config('workbench.workspace', workspace::text, true);
  ids := array(
    select b.run_id
    from rows from (json_to_recordset(batches) as (run_id uuid)) with ordinality as b (run_id, place)
    order by b.place
  );

  -- The rows' locks make seq contiguous; taken in one order, so that nobody waits in a circle.
  perform from runs r
  where r.workspace_id = workspace and r.run_id = any (ids)
  order by r.run_id
  for update;

  -- Read by a statement of its own, which sees what the last holder of a lock left.
  select array_agg(
    case
      when r.closed is not false or coalesce(w.last_seq, 0) <> b.first - 1 then null
      when exists (
        select from json_array_elements_text(b.needs) as n (digest)
        -- A value is looked up for each; whether one exists might be asked of the whole pool.
        where (
          select true from messages m
          where m.workspace_id = workspace and m.digest = decode(n.digest, 'hex')
        ) is null
      ) then null
      else r.next_seq
    end
    order by b.place
  ) into firsts
  from rows from (
    json_to_recordset(batches) as (run_id uuid, writer text, first bigint, needs json)
  ) with ordinality as b (run_id, writer, first, needs, place)
  left join runs r on r.workspace_id = workspace and r.run_id = b.run_id
  left join writers w
    on w.workspace_id = workspace and w.run_id = b.run_id and w.writer = b.writer;

  if cardinality(array_remove(firsts, null)) = 0 then
    return firsts;
  end if;

  if cardinality(digests) > 0 then
    insert into messages (workspace_id, run_id, digest, body)
    select workspace, ids[d.owner], d.digest, d.body
    from unnest(digests, bodies, owners) as d (digest, body, owner)
    where firsts[d.owner] is not null
    order by d.digest
    on conflict do nothing;
  end if;
  -- By a statement of its own, which sees the bodies that somebody else sent at the same time.
  insert into shared_messages (workspace_id, run_id, seq, digests)
  select workspace, ids[n.place], firsts[n.place], l.digests
  from (
    select d.place, array_agg(d.digest) as digests
    from (
      select owner, digest from unnest(owners, digests) as b (owner, digest)
      union all
      select b.place, decode(e.digest, 'hex')
      from rows from (json_to_recordset(batches) as (needs json))
        with ordinality as b (needs, place),
        json_array_elements_text(b.needs) as e (digest)
    ) d (place, digest)
    -- With a limit it is looked up for each: never the whole pool for a few digests.
    cross join lateral (
      select m.run_id from messages m
      where m.workspace_id = workspace and m.digest = d.digest
      limit 1
    ) m
    where firsts[d.place] is not null and m.run_id is distinct from ids[d.place]
    group by d.place
  ) n
  cross join lateral (
    select array_agg(l.digest order by l.digest) as digests
    from (
      select unnest(n.digests) as digest
      except
      select unnest(s.digests) from shared_messages s
      where s.workspace_id = workspace and s.run_id = ids[n.place]
    ) l
    having count(*) > 0
  ) l
  on conflict on constraint shared_messages_key
  do update set digests = shared_messages.digests || excluded.digests;

  insert into events (
    workspace_id, run_id, seq, writer_seq, started_at, received_at, duration_ms, input_tokens,
    input_uncached, cache_read, cache_write, output_tokens, reasoning_tokens, cost_usd,
    content_hash, ordinal, version, event_type, writer, step_id, parent_step_id, attempt_of, kind,
    name, lane, status, effect, quality, "order", mode, match_level, digest, signature, payload
  )
  select
    workspace, ids[e.b], firsts[e.b] + e.k, e.writer_seq, e.started_at, now(), e.duration_ms,
    e.input_tokens, e.input_uncached, e.cache_read, e.cache_write, e.output_tokens,
    e.reasoning_tokens, e.cost_usd, e.content_hash, e.ordinal, coalesce(e.version, 1), e.event_type,
    e.writer, e.step_id, e.parent_step_id, e.attempt_of, e.kind, e.name, e.lane, e.status, e.effect,
    e.quality, e."order", e.mode, e.match_level, decode(e.digest, 'hex'),
    decode(e.signature, 'hex'), substring(payloads from e.at + 1 for e.size)
  from json_to_recordset(rows) as e (
    b integer, k bigint, writer_seq bigint, started_at timestamptz,
    duration_ms double precision, input_tokens bigint, input_uncached bigint, cache_read bigint,
    cache_write bigint, output_tokens bigint, reasoning_tokens bigint, cost_usd double precision,
    content_hash bigint, ordinal bigint, version smallint, event_type text, writer text,
    step_id text, parent_step_id text, attempt_of text, kind text, name text, lane text,
    status text, effect text, quality text, "order" text, mode text, match_level text, digest text,
    signature text, at integer, size integer
  )
  where firsts[e.b] is not null;

  insert into writers (workspace_id, run_id, writer, last_seq, final_seq)
  select workspace, b.run_id, b.writer, b.last, case when b.closes then b.last end
  from rows from (
    json_to_recordset(batches) as (run_id uuid, writer text, last bigint, closes boolean)
  ) with ordinality as b (run_id, writer, last, closes, place)
  where firsts[b.place] is not null
  on conflict on constraint writers_key
  do update set last_seq = excluded.last_seq, final_seq = excluded.final_seq;

  update runs r set
    next_seq = r.next_seq + b.events,
    events = r.events + b.events,
    steps = r.steps + b.steps,
    calls = r.calls + b.calls,
    model_calls = r.model_calls + b.model_calls,
    tool_calls = r.tool_calls + b.tool_calls,
    tool_errors = r.tool_errors + b.tool_errors,
    errors = r.errors + b.errors,
    input_tokens = r.input_tokens + b.input_tokens,
    output_tokens = r.output_tokens + b.output_tokens,
    cost_known_usd = r.cost_known_usd + b.cost_known_usd,
    unknown_cost_parts = r.unknown_cost_parts + case
      when coalesce(r.labels ->> 'cost_local' = 'true', false) then b.unknown_cost_parts_local
      else b.unknown_cost_parts
    end,
    started_at = coalesce(r.started_at, b.started_at),
    ended_at = coalesce(r.ended_at, b.ended_at),
    duration_ms = coalesce(
      r.duration_ms,
      b.duration_ms,
      -- A clock that stepped back in between cannot say how long it took.
      case
        when b.ended_at >= coalesce(r.started_at, b.started_at)
        then extract(epoch from b.ended_at - coalesce(r.started_at, b.started_at)) * 1000
      end
    ),
    status = coalesce(b.status, case r.status when 'lost' then 'running' else r.status end),
    closed = b.closes,
    snapshot_due = b.closes,
    heard_at = now(),
    changed_at = now()
  from rows from (
    json_to_recordset(batches) as (
      run_id uuid, events bigint, steps bigint, calls bigint, model_calls bigint,
      tool_calls bigint, tool_errors bigint, errors bigint, input_tokens bigint,
      output_tokens bigint, cost_known_usd double precision, unknown_cost_parts bigint,
      unknown_cost_parts_local bigint, started_at timestamptz, ended_at timestamptz,
      duration_ms double precision, status text, closes boolean
    )
  ) with ordinality as b (
    run_id, events, steps, calls, model_calls, tool_calls, tool_errors, errors, input_tokens,
    output_tokens, cost_known_usd, unknown_cost_parts, unknown_cost_parts_local, started_at,
    ended_at, duration_ms, status, closes, place
  )
  where r.workspace_id = workspace and r.run_id = b.run_id and firsts[b.place] is not null;

  insert into run_usage as u (
    workspace_id, run_id, day, events, bytes, input_tokens, output_tokens, cost_usd
  )
  select
    workspace, b.run_id, (now() at time zone 'UTC')::date, b.events, b.bytes, b.input_tokens,
    b.output_tokens, b.cost_known_usd
  from rows from (
    json_to_recordset(batches) as (
      run_id uuid, events bigint, bytes bigint, input_tokens bigint, output_tokens bigint,
      cost_known_usd double precision
    )
  ) with ordinality as b (
    run_id, events, bytes, input_tokens, output_tokens, cost_known_usd, place
  )
  where firsts[b.place] is not null
  on conflict on constraint run_usage_key do update set
    events = u.events + excluded.events,
    bytes = u.bytes + excluded.bytes,
    input_tokens = u.input_tokens + excluded.input_tokens,
    output_tokens = u.output_tokens + excluded.output_tokens,
    cost_usd = u.cost_usd + excluded.cost_usd;

  return firsts;
end
$$;
