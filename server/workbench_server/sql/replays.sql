-- Replays as jobs: asked for, looked at, cancelled. The worker's side is in `replaying`.

-- name: ask
-- Nothing where the key is taken. A trigger writes the queue's job in the same transaction.
insert into jobs.jobs (workspace_id, job_id, job_key, kind, args, args_hash, run_id)
values (
  %(workspace_id)s, %(job_id)s, %(job_key)s, 'replay', %(args)s::jsonb, %(args_hash)s, %(run_id)s
)
on conflict do nothing
returning job_id

-- name: asked
-- What was asked by a key before.
select args_hash from jobs.jobs
where workspace_id = %(workspace_id)s and job_key = %(job_key)s and kind = 'replay'

-- name: rows
-- All that is said of replays.
select
  job_id, run_id, status, args as asked, progress, result, result_artifact, error, attempts,
  cancel_requested, created_at, started_at, heartbeat_at, ended_at
from jobs.jobs
where workspace_id = %(workspace_id)s and kind = 'replay'

-- name: job_id
and job_id = %(job_id)s

-- name: job_key
and job_key = %(job_key)s

-- name: status
and status = any(%(status)s)

-- name: run_id
and args ->> 'run_id' = %(run_id)s::text

-- name: key_created_at
created_at

-- name: key_job_id
job_id

-- name: cancel
-- One that waits is over at once; whoever plays one learns of it within a second.
update jobs.jobs set
  cancel_requested = true,
  status = case status when 'queued' then 'cancelled' else status end,
  ended_at = case status when 'queued' then now() end
where
  workspace_id = %(workspace_id)s and job_id = %(job_id)s and kind = 'replay'
  and status in ('queued', 'running')
returning job_id

-- name: recent_ids
-- Candidates to name in a not-found error.
select job_id::text as job_id from jobs.jobs
where workspace_id = %(workspace_id)s and kind = 'replay'
order by created_at desc
limit 1000

-- name: is_there
-- Whether there is a run to replay, and the agent that it names.
select agent from runs where workspace_id = %(workspace_id)s and run_id = %(run_id)s
