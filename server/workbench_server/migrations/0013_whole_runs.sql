-- Whole new runs go into the log in one statement, each as a row that has its sums from the start: one
-- that is filled afterwards leaves its first version behind, dead, in the table and in each index.

-- With its first version gone, a table of such runs is as large as the room it keeps free. This much
-- is enough for a run that goes on: 99 of 100 of its batches still leave the indexes alone.
alter table runs set (fillfactor = 80);

-- The next two are parts of the functions below, and run with the settings of these.

-- Whether all of these bodies were sent before, by whichever run.
create function all_known(workspace uuid, needs json)
returns boolean
language plpgsql stable
as $$
begin
  return not exists (
    select from json_array_elements_text(needs) as n (digest)
    -- A value is looked up for each; whether one exists might be asked of the whole pool.
    where (
      select true from messages m
      where m.workspace_id = workspace and m.digest = decode(n.digest, 'hex')
    ) is null
  );
end
$$;

-- What batches say beside their runs' rows: bodies, links, events, writers and usage. `firsts` tells
-- where each begins, and is null where one is left out; the rest is what `append_batches` takes.
create function append_rows(
  workspace uuid, ids uuid[], firsts bigint[], batches json, rows json, payloads bytea,
  digests bytea[], bodies bytea[], owners integer[]
)
returns void
language plpgsql
as $$
begin
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
end
$$;

-- As before, in three parts: which batches go in, their rows, and the sums of their runs.
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
      when all_known(workspace, b.needs) then r.next_seq
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

  perform append_rows(
    workspace, ids, firsts, batches, rows, payloads, digests, bodies, owners
  );

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

  return firsts;
end
$$;

-- New runs that supersede nothing, each with its first batch, a plain one; the header and the batch of
-- a run have the same place in their lists. A run that exists already, or whose batch names a body that
-- nobody sent, is left out whole, and its place in the answer is null; the caller then looks closer.
-- Each run stands in the lists once. They are in the order of run ids: nobody waits in a circle.
create function store_runs(
  workspace uuid, headers json, batches json, rows json, payloads bytea,
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
  made uuid[];
  firsts bigint[];
begin
  perform set_config('workbench.workspace', workspace::text, true);
  ids := array(
    select h.run_id
    from rows from (json_to_recordset(headers) as (run_id uuid)) with ordinality as h (run_id, place)
    order by h.place
  );

  with born as (
    insert into runs (
      workspace_id, run_id, name, agent, source, session, labels, mode, parent_run_id, forked_at,
      edits_hash, superseded_by, header_hash, next_seq, events, steps, calls, model_calls,
      tool_calls, tool_errors, errors, input_tokens, output_tokens, cost_known_usd,
      unknown_cost_parts, started_at, ended_at, duration_ms, status, closed, snapshot_due
    )
    select
      workspace, n.run_id, n.name, n.agent, n.source, n.session, n.labels, n.mode,
      n.parent_run_id, n.forked_at, n.edits_hash,
      (
        select r.run_id from runs r
        where r.workspace_id = workspace and r.supersedes = n.run_id
        order by r.created_at limit 1
      ),
      decode(n.header_hash, 'hex'), n.events + 1, n.events, n.steps, n.calls, n.model_calls,
      n.tool_calls, n.tool_errors, n.errors, n.input_tokens, n.output_tokens, n.cost_known_usd,
      case
        when coalesce(n.labels ->> 'cost_local' = 'true', false) then n.unknown_cost_parts_local
        else n.unknown_cost_parts
      end,
      n.started_at, n.ended_at,
      coalesce(
        n.duration_ms,
        case
          when n.ended_at >= n.started_at then extract(epoch from n.ended_at - n.started_at) * 1000
        end
      ),
      coalesce(n.status, 'running'), n.closes, n.closes
    from rows from (
      json_to_recordset(headers) as (
        run_id uuid, name text, agent text, source text, session text, labels jsonb, mode text,
        parent_run_id uuid, forked_at bigint, edits_hash text, header_hash text
      ),
      json_to_recordset(batches) as (
        first bigint, needs json, events bigint, steps bigint, calls bigint, model_calls bigint,
        tool_calls bigint, tool_errors bigint, errors bigint, input_tokens bigint,
        output_tokens bigint, cost_known_usd double precision, unknown_cost_parts bigint,
        unknown_cost_parts_local bigint, started_at timestamptz, ended_at timestamptz,
        duration_ms double precision, status text, closes boolean
      )
    ) with ordinality as n
    where n.first = 1 and all_known(workspace, n.needs)
    order by n.ordinality
    on conflict on constraint runs_key do nothing
    returning run_id
  )
  select array_agg(run_id) into made from born;

  if made is null then
    return array_fill(null::bigint, array[cardinality(ids)]);
  end if;

  firsts := array(
    select case when i.run_id = any (made) then 1 end
    from unnest(ids) with ordinality as i (run_id, place)
    order by i.place
  );
  perform append_rows(
    workspace, ids, firsts, batches, rows, payloads, digests, bodies, owners
  );
  return firsts;
end
$$;

do $$
declare
  f text;
begin
  foreach f in array array[
    'all_known(uuid, json)',
    'append_rows(uuid, uuid[], bigint[], json, json, bytea, bytea[], bytea[], integer[])',
    'store_runs(uuid, json, json, json, bytea, bytea[], bytea[], integer[])'
  ] loop
    execute format('revoke all on function %s from public', f);
    execute format('grant execute on function %s to workbench_app, workbench_worker', f);
  end loop;
end
$$;
