-- One statement stores the batches of many requests, each in a run of its own.

-- When a writer was last heard of: at each batch, and at each heartbeat.
alter table runs add column heard_at timestamptz not null default now();

-- What a run brought on a day. Kept under the run's own lock, so that no row is shared by runs.
create table run_usage (
  workspace_id uuid not null,
  run_id uuid not null,
  day date not null,
  events bigint not null default 0,
  bytes bigint not null default 0,
  input_tokens bigint not null default 0,
  output_tokens bigint not null default 0,
  cost_usd double precision not null default 0,
  constraint run_usage_key primary key (workspace_id, run_id, day)
);
alter table run_usage enable row level security;
alter table run_usage force row level security;
create policy workspace_only on run_usage
using (workspace_id = current_setting('workbench.workspace')::uuid);
grant select, insert, update, delete on run_usage to workbench_app, workbench_worker;
create index run_usage_days on run_usage (workspace_id, day);

-- A batch of one writer that only goes on where that writer stopped needs no look at the log: it is
-- stored here, in order of the list. One that does not is left alone, and its place in the answer is
-- null; the caller then looks closer. Each run stands in the list once.
--
--   batches  {run_id, writer, first, last, closes, needs: [digest], …sums} each
--   rows     the events' columns, with b (place of the batch, from 1), k (place in it, from 0),
--            at and size (where the payload lies)
--   digests, bodies, owners   the message bodies, and the place (from 1) of the batch of each
create function append_batches(
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
        where not exists (
          select from messages m
          where m.workspace_id = workspace and m.digest = decode(n.digest, 'hex')
        )
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
    insert into messages (workspace_id, digest, body)
    select workspace, d.digest, d.body
    from unnest(digests, bodies, owners) as d (digest, body, owner)
    where firsts[d.owner] is not null
    order by d.digest
    on conflict do nothing;
  end if;
  insert into run_messages (workspace_id, run_id, digest)
  select distinct workspace, n.run_id, n.digest
  from (
    select ids[d.owner] as run_id, d.digest
    from unnest(digests, owners) as d (digest, owner)
    where firsts[d.owner] is not null
    union all
    select b.run_id, decode(e.digest, 'hex')
    from rows from (json_to_recordset(batches) as (run_id uuid, needs json))
      with ordinality as b (run_id, needs, place),
      json_array_elements_text(b.needs) as e (digest)
    where firsts[b.place] is not null
  ) n
  order by 2, 3
  on conflict do nothing;

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
revoke all on function
append_batches(uuid, json, json, bytea, bytea[], bytea[], integer[]) from public;
grant execute on function
append_batches(uuid, json, json, bytea, bytea[], bytea[], integer[])
to workbench_app, workbench_worker;
