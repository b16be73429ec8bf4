-- What the probes and the counters ask.

-- name: migrations
-- Which migrations this database has.
select name from migrations

-- name: backlog
-- A security definer function: the app's role sees neither the queue nor other workspaces.
select jobs_waiting, worker_seen_s, runs_due, oldest_due_s from backlog()
