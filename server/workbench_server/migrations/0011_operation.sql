-- What whoever runs the service asks: which migrations there are, and how far behind the work is.

grant select on migrations to workbench_app;

-- Numbers over all workspaces, and nothing that names one. The owner is bound by the walls as well,
-- so this looks into each workspace in turn.
create function backlog(
  out jobs_waiting bigint,
  out worker_seen_s double precision,
  out runs_due bigint,
  out oldest_due_s double precision
)
language plpgsql security definer set search_path = pg_catalog, public, jobs, pg_temp
set "workbench.workspace" = ''
as $$
declare
  w uuid;
  due bigint;
  oldest timestamptz;
begin
  select count(*) into jobs_waiting from jobs.procrastinate_jobs where status = 'todo';
  select extract(epoch from clock_timestamp() - max(last_heartbeat)) into worker_seen_s
  from jobs.procrastinate_workers;
  runs_due := 0;
  oldest_due_s := 0;
  for w in select workspace_id from public.workspaces loop
    perform set_config('workbench.workspace', w::text, true);
    select count(*), min(r.ended_at) into due, oldest
    from public.runs r
    where r.workspace_id = w and r.snapshot_due;
    runs_due := runs_due + due;
    oldest_due_s := greatest(
      oldest_due_s, coalesce(extract(epoch from clock_timestamp() - oldest), 0)
    );
  end loop;
end
$$;
revoke all on function backlog() from public;
grant execute on function backlog() to workbench_app;
