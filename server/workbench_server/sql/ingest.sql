-- A batch: one lock, one look, one insert. No earlier event of the run is read, but those sent again.

-- name: lock_run
-- The row's lock is what makes seq contiguous with any number of writers.
select next_seq, closed, coalesce(labels ->> 'cost_local' = 'true', false) as cost_local
from runs
where workspace_id = %(workspace_id)s and run_id = %(run_id)s
for update

-- name: writers
-- Read after the lock, so that it sees what the last holder of the lock left.
select writer, last_seq, final_seq
from writers
where workspace_id = %(workspace_id)s and run_id = %(run_id)s

-- name: insert_bodies
-- Sorted by digest, so that two batches never wait for each other in a circle.
insert into messages (workspace_id, run_id, digest, body)
select %(workspace_id)s, %(run_id)s, b.digest, b.body
from unnest(%(digests)s::bytea[], %(bodies)s::bytea[]) as b (digest, body)
order by b.digest
on conflict do nothing

-- name: link_bodies
-- Makes those that another run sent first the run's as well, and answers with the digests that
-- nobody ever sent.
with wanted as (
  select digest from unnest(%(digests)s::bytea[]) as w (digest)
), found as (
  select m.digest, m.run_id
  from messages m join wanted w on m.digest = w.digest
  where m.workspace_id = %(workspace_id)s
), linked as (
  insert into shared_messages (workspace_id, run_id, seq, digests)
  select r.workspace_id, r.run_id, r.next_seq, l.digests
  from runs r
  cross join (
    select array_agg(l.digest order by l.digest) as digests
    from (
      select f.digest from found f where f.run_id is distinct from %(run_id)s
      except
      select unnest(s.digests) from shared_messages s
      where s.workspace_id = %(workspace_id)s and s.run_id = %(run_id)s
    ) l
    having count(*) > 0
  ) l
  where r.workspace_id = %(workspace_id)s and r.run_id = %(run_id)s
  on conflict on constraint shared_messages_key
  do update set digests = shared_messages.digests || excluded.digests
)
select encode(w.digest, 'hex') as digest
from wanted w
where not exists (select from found f where f.digest = w.digest)

-- name: known_digests
-- Only for numbers that were used before: to tell a repeat from a conflict.
select e.writer, e.writer_seq, encode(e.digest, 'hex') as digest
from json_to_recordset(%(keys)s::json) as k (writer text, writer_seq bigint)
join events e
  on e.workspace_id = %(workspace_id)s and e.run_id = %(run_id)s
  and e.writer = k.writer and e.writer_seq = k.writer_seq

-- name: insert_events
-- One statement for the batch; payloads travel as one string of bytes, cut here at (at, size).
insert into events (
  workspace_id, run_id, seq, writer_seq, started_at, received_at, duration_ms, input_tokens,
  input_uncached, cache_read, cache_write, output_tokens, reasoning_tokens, cost_usd, content_hash,
  ordinal, version, event_type, writer, step_id, parent_step_id, attempt_of, kind, name, lane,
  status, effect, quality, "order", mode, match_level, digest, signature, payload
)
select
  %(workspace_id)s, %(run_id)s, %(first_seq)s + e.k, e.writer_seq, e.started_at, now(), e.duration_ms,
  e.input_tokens, e.input_uncached, e.cache_read, e.cache_write, e.output_tokens,
  e.reasoning_tokens, e.cost_usd, e.content_hash, e.ordinal, coalesce(e.version, 1), e.event_type,
  e.writer, e.step_id, e.parent_step_id, e.attempt_of, e.kind, e.name, e.lane, e.status, e.effect,
  e.quality, e."order", e.mode, e.match_level, decode(e.digest, 'hex'), decode(e.signature, 'hex'),
  substring(%(payloads)b from e.at + 1 for e.size)
from json_to_recordset(%(rows)s::json) as e (
  k bigint, writer_seq bigint, started_at timestamptz, duration_ms double precision,
  input_tokens bigint, input_uncached bigint, cache_read bigint, cache_write bigint,
  output_tokens bigint, reasoning_tokens bigint, cost_usd double precision, content_hash bigint,
  ordinal bigint, version smallint, event_type text, writer text, step_id text,
  parent_step_id text, attempt_of text, kind text, name text, lane text, status text, effect text,
  quality text, "order" text, mode text, match_level text, digest text, signature text,
  at integer, size integer
)

-- name: move_writers
-- How far each writer has delivered, and what was announced for it.
insert into writers (workspace_id, run_id, writer, last_seq, final_seq)
select %(workspace_id)s, %(run_id)s, w.writer, w.last, w.final
from json_to_recordset(%(writers)s::json) as w (writer text, last bigint, final bigint)
on conflict on constraint writers_key
do update set last_seq = excluded.last_seq, final_seq = excluded.final_seq

-- name: move_run
-- Sums are added, never computed again. A run that has ended is due for the lake at each change.
update runs set
  next_seq = next_seq + %(events)s,
  events = events + %(events)s,
  steps = steps + %(steps)s,
  calls = calls + %(calls)s,
  model_calls = model_calls + %(model_calls)s,
  tool_calls = tool_calls + %(tool_calls)s,
  tool_errors = tool_errors + %(tool_errors)s,
  errors = errors + %(errors)s,
  input_tokens = input_tokens + %(input_tokens)s,
  output_tokens = output_tokens + %(output_tokens)s,
  cost_known_usd = cost_known_usd + %(cost_known_usd)s,
  unknown_cost_parts = unknown_cost_parts + %(unknown_cost_parts)s,
  started_at = coalesce(started_at, %(started_at)s::timestamptz),
  ended_at = coalesce(ended_at, %(ended_at)s::timestamptz),
  duration_ms = coalesce(
    duration_ms,
    %(duration_ms)s::double precision,
    -- A clock that stepped back in between cannot say how long it took.
    case
      when %(ended_at)s::timestamptz >= coalesce(started_at, %(started_at)s::timestamptz)
      then extract(
        epoch from %(ended_at)s::timestamptz - coalesce(started_at, %(started_at)s::timestamptz)
      ) * 1000
    end
  ),
  status = case
    when closed then status
    else coalesce(%(status)s, case status when 'lost' then 'running' else status end)
  end,
  health = %(health)s,
  closed = %(closed)s,
  snapshot_due = %(closed)s,
  heard_at = now(),
  changed_at = now()
where workspace_id = %(workspace_id)s and run_id = %(run_id)s

-- name: add_usage
-- What the run brought today, under the run's own lock.
insert into run_usage as u (
  workspace_id, run_id, day, events, bytes, input_tokens, output_tokens, cost_usd
)
values (
  %(workspace_id)s, %(run_id)s, (now() at time zone 'UTC')::date, %(events)s, %(bytes)s,
  %(input_tokens)s, %(output_tokens)s, %(cost_known_usd)s
)
on conflict on constraint run_usage_key do update set
  events = u.events + excluded.events,
  bytes = u.bytes + excluded.bytes,
  input_tokens = u.input_tokens + excluded.input_tokens,
  output_tokens = u.output_tokens + excluded.output_tokens,
  cost_usd = u.cost_usd + excluded.cost_usd

-- name: append_batches
-- The plain batches of many requests in one statement, which is a transaction of its own.
select append_batches(
  %(workspace_id)s, %(batches)s::json, %(rows)s::json, %(payloads)b, %(digests)s::bytea[],
  %(bodies)s::bytea[], %(owners)s::integer[]
) as firsts

-- name: store_runs
-- Whole new runs in one statement: their headers, and what each says so far as one plain batch.
select store_runs(
  %(workspace_id)s, %(headers)s::json, %(batches)s::json, %(rows)s::json, %(payloads)b,
  %(digests)s::bytea[], %(bodies)s::bytea[], %(owners)s::integer[]
) as firsts
