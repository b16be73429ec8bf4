-- What a run holds. Pages go by seq along the primary key, never by offset.

-- name: events
-- Everything of one page.
select
  seq, writer_seq, started_at, received_at, duration_ms, input_tokens, input_uncached, cache_read,
  cache_write, output_tokens, reasoning_tokens, cost_usd, content_hash, ordinal, version,
  event_type, writer, step_id, parent_step_id, attempt_of, kind, name, lane, status, effect,
  quality, "order", mode, match_level, encode(digest, 'hex') as digest,
  encode(signature, 'hex') as signature, payload
from events
where workspace_id = %(workspace_id)s and run_id = %(run_id)s and seq > %(after)s
order by seq
limit %(limit)s

-- name: timeline
-- The narrow columns a timeline draws.
select
  seq, started_at, duration_ms, input_tokens, output_tokens, cost_usd, ordinal, event_type, step_id,
  parent_step_id, attempt_of, kind, name, lane, status, mode, match_level
from events
where workspace_id = %(workspace_id)s and run_id = %(run_id)s and seq > %(after)s
order by seq
limit %(limit)s

-- name: bodies
-- The messages a run refers to.
select encode(m.digest, 'hex') as digest, m.body
from run_messages r
join messages m on m.workspace_id = r.workspace_id and m.digest = r.digest
where r.workspace_id = %(workspace_id)s and r.run_id = %(run_id)s and r.digest > %(after)s
order by r.digest
limit %(limit)s

-- name: exists
-- Told apart from an empty run.
select 1 as found from runs where workspace_id = %(workspace_id)s and run_id = %(run_id)s

-- name: artifact
-- Its metadata; the bytes are in the object store.
select encode(sha256, 'hex') as sha256, size, media_type from artifacts
where workspace_id = %(workspace_id)s and sha256 = %(sha256)s

-- name: put_artifact
-- After its bytes are in the object store.
insert into artifacts (workspace_id, sha256, size, media_type)
values (%(workspace_id)s, %(sha256)s, %(size)s, %(media_type)s)
on conflict on constraint artifacts_key do nothing

-- name: snapshots
-- Where the lake's tables stand.
select table_name, metadata_location, snapshot_id, generation from snapshots
where workspace_id = %(workspace_id)s

-- name: snapshots_pending
-- Ended runs that the lake does not hold as they are now.
select count(*) as pending from runs where workspace_id = %(workspace_id)s and snapshot_due

-- name: request_snapshot
-- A trigger writes the queue's job in the same transaction.
insert into jobs.jobs (workspace_id, job_key, kind)
values (%(workspace_id)s, %(job_key)s, 'snapshot')
on conflict on constraint jobs_key_unique do update set kind = excluded.kind
returning job_id
