-- What the worker reads of the log, and what it leaves behind.

-- name: claim
-- The next ended runs the lake lacks, up to a number of runs and events. Each gets a generation of
-- its own first, so that what a killed worker left half-written is never looked at.
with due as (
  select run_id, sum(events) over (order by ended_at, run_id) - events as before
  from runs
  where workspace_id = %(workspace_id)s and snapshot_due
  order by ended_at, run_id
  limit %(most_runs)s
)
update runs r set generation = generation + 1
from due d
where r.workspace_id = %(workspace_id)s and r.run_id = d.run_id and d.before < %(most_events)s
returning
  r.run_id, r.generation, r.changed_at, r.name, r.agent, r.source, r.session,
  r.labels::text as labels, r.mode, r.parent_run_id, r.forked_at, r.edits_hash, r.supersedes,
  r.superseded_by, r.status, r.health, r.created_at, r.started_at, r.ended_at, r.duration_ms,
  r.events, r.steps, r.calls, r.model_calls, r.tool_calls, r.tool_errors, r.errors,
  r.input_tokens, r.output_tokens, r.cost_known_usd,
  case when r.unknown_cost_parts = 0 then r.cost_known_usd end as cost_usd, r.unknown_cost_parts

-- name: events
-- No further than the run's row says: an event that came since belongs to the next generation.
select
  run_id, seq, writer_seq, started_at, received_at, duration_ms, input_tokens, input_uncached,
  cache_read, cache_write, output_tokens, reasoning_tokens, cost_usd, content_hash, ordinal,
  version, event_type, writer, step_id, parent_step_id, attempt_of, kind, name, lane, status,
  effect, quality, "order", mode, match_level, encode(digest, 'hex') as digest,
  encode(signature, 'hex') as signature, payload
from events
where
  workspace_id = %(workspace_id)s and run_id = %(run_id)s
  and seq > %(after)s and seq <= %(last_seq)s
order by seq
limit %(limit)s

-- name: bodies
-- The messages of one run: those it sent first, and those it is linked with.
select encode(m.digest, 'hex') as digest, m.body
from messages m
where m.workspace_id = %(workspace_id)s and m.run_id = %(run_id)s
union all
select encode(m.digest, 'hex'), m.body
from shared_messages s
cross join unnest(s.digests) as l (digest)
join messages m on m.workspace_id = %(workspace_id)s and m.digest = l.digest
where s.workspace_id = %(workspace_id)s and s.run_id = %(run_id)s

-- name: fill_text
-- Words of each message, by the event that holds it.
insert into messages_text (workspace_id, run_id, seq, tsv)
select %(workspace_id)s, %(run_id)s, t.seq, to_tsvector('simple', t.words)
from json_to_recordset(%(texts)s::json) as t (seq bigint, words text)
on conflict on constraint messages_text_key do update set tsv = excluded.tsv

-- name: count_messages
-- How long each run's conversation is; locked in the order that batches lock runs in.
with counted as (
  select r.run_id, c.messages
  from json_to_recordset(%(counts)s::json) as c (run_id uuid, messages bigint)
  join runs r on r.workspace_id = %(workspace_id)s and r.run_id = c.run_id
  order by r.run_id
  for update of r
)
update runs r set messages = c.messages
from counted c
where r.workspace_id = %(workspace_id)s and r.run_id = c.run_id

-- name: publish
-- Where a table stands now.
insert into snapshots as s (workspace_id, table_name, metadata_location, snapshot_id, generation)
values (%(workspace_id)s, %(table_name)s, %(metadata_location)s, %(snapshot_id)s, 1)
on conflict on constraint snapshots_key do update set
  metadata_location = excluded.metadata_location,
  snapshot_id = excluded.snapshot_id,
  generation = s.generation + 1,
  updated_at = now()

-- name: settle
-- Unless the run changed while it was being written: then it stays due.
update runs r set snapshot_due = false
from json_to_recordset(%(runs)s::json) as d (run_id uuid, changed_at timestamptz)
where r.workspace_id = %(workspace_id)s and r.run_id = d.run_id and r.changed_at = d.changed_at

-- name: workspaces_with_work
-- A security definer function: no role of ours reads across workspaces.
select workspaces_with_work() as workspace_id

-- name: sweep
-- A security definer function as well; it leaves runs alone that are being written to.
select swept_workspace_id as workspace_id, swept_run_id as run_id, status, health
from sweep_runs(%(lost_after_s)s, %(incomplete_after_s)s)

-- name: job_status
-- A job that somebody asked for by name.
update jobs.jobs set status = %(status)s, progress = %(progress)s::jsonb, error = %(error)s::jsonb
where workspace_id = %(workspace_id)s and job_id = %(job_id)s
