-- Runs: made, changed, kept alive. How they are listed and looked up is in listing.sql.

-- name: supersede
-- The older run gives up its source before the newer takes it.
update runs set superseded_by = %(run_id)s, changed_at = now(), snapshot_due = closed
where workspace_id = %(workspace_id)s and run_id = %(supersedes)s and superseded_by is null

-- name: create
-- A run that something newer superseded before it came is born superseded.
insert into runs (
  workspace_id, run_id, name, agent, source, session, labels, mode, parent_run_id, forked_at,
  edits_hash, supersedes, superseded_by, header_hash
)
select
  %(workspace_id)s, %(run_id)s, %(name)s, %(agent)s, %(source)s, %(session)s, %(labels)s::jsonb,
  %(mode)s, %(parent_run_id)s, %(forked_at)s, %(edits_hash)s, %(supersedes)s,
  (
    select run_id from runs
    where workspace_id = %(workspace_id)s and supersedes = %(run_id)s
    order by created_at limit 1
  ),
  %(header_hash)s
on conflict on constraint runs_key do nothing
returning run_id

-- name: header_hash
-- What was said of the run when it was created; its name and labels may have changed since.
select header_hash from runs where workspace_id = %(workspace_id)s and run_id = %(run_id)s

-- name: recent_ids
-- Candidates to name in a not-found error.
select run_id::text as run_id from runs
where workspace_id = %(workspace_id)s
order by created_at desc
limit 1000

-- name: patch
-- A label set to null is removed.
update runs set
  name = case when %(set_name)s then %(name)s else name end,
  labels = jsonb_strip_nulls(labels || %(labels)s::jsonb),
  changed_at = now(),
  snapshot_due = closed
where workspace_id = %(workspace_id)s and run_id = %(run_id)s
returning run_id

-- name: standing
-- Whether a run is closed, and how far each of its writers has delivered; a row in any case.
select r.closed, w.writer, w.last_seq
from runs r
left join writers w on w.workspace_id = r.workspace_id and w.run_id = r.run_id
where r.workspace_id = %(workspace_id)s and r.run_id = %(run_id)s

-- name: hear
-- A writer is alive, so a run that was given up is not lost.
update runs set
  heard_at = now(),
  status = case status when 'lost' then 'running' else status end,
  changed_at = case status when 'lost' then now() else changed_at end
where workspace_id = %(workspace_id)s and run_id = %(run_id)s and not closed
returning run_id, status, health, closed

-- name: ended_as
-- A run that has ended is not kept alive any more.
select run_id, status, health, closed from runs
where workspace_id = %(workspace_id)s and run_id = %(run_id)s
