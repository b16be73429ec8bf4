-- Replays as the worker sees them. Each statement names the attempt: one that is not the last to
-- have begun changes nothing, so that a worker thought dead cannot speak for the job.

-- name: claim
-- Begin, or begin again where a worker was killed.
update jobs.jobs set
  status = 'running', attempts = attempts + 1, heartbeat_at = now(),
  started_at = coalesce(started_at, now())
where
  workspace_id = %(workspace_id)s and job_id = %(job_id)s and kind = 'replay'
  and status in ('queued', 'running')
returning args, run_id, attempts as attempt, cancel_requested, staged, result

-- name: beat
-- No row where another attempt has begun.
update jobs.jobs set heartbeat_at = now(), progress = %(progress)s::jsonb
where
  workspace_id = %(workspace_id)s and job_id = %(job_id)s and attempts = %(attempt)s
  and status = 'running'
returning cancel_requested

-- name: stage
-- From here on this is what comes of the job, whoever goes on with it.
update jobs.jobs set
  staged = %(staged)s, result_artifact = %(result_artifact)s, result = %(result)s::jsonb,
  progress = %(progress)s::jsonb, heartbeat_at = now()
where
  workspace_id = %(workspace_id)s and job_id = %(job_id)s and attempts = %(attempt)s
  and status = 'running'
returning job_id

-- name: finish
-- Only what is done has a result.
update jobs.jobs set
  status = %(status)s, error = %(error)s::jsonb, staged = null,
  result = case when %(status)s = 'done' then result end,
  result_artifact = case when %(status)s = 'done' then result_artifact end,
  heartbeat_at = now(), ended_at = now()
where
  workspace_id = %(workspace_id)s and job_id = %(job_id)s and attempts = %(attempt)s
  and status = 'running'
returning job_id

-- name: put_back
-- For another worker, or this one in a while. What is staged stays so.
update jobs.jobs set status = 'queued'
where
  workspace_id = %(workspace_id)s and job_id = %(job_id)s and attempts = %(attempt)s
  and status = 'running'
returning job_id

-- name: lend_key
-- A security definer function: it looks at the workspace of the transaction alone.
select lend_key(%(job_id)s, %(key_id)s, %(prefix)s, %(key_hash)s, %(lasts_s)s)

-- name: take_back_key
-- As above.
select take_back_key(%(job_id)s)
