-- Row-level security on every table but workspaces and api_keys. An unset workspace is an error: there
-- is no missing_ok, and '' (what a used session says when unset) is no uuid.
do $$
declare
  t text;
begin
  foreach t in array array[
    'public.runs', 'public.writers', 'public.events', 'public.messages', 'public.run_messages',
    'public.messages_text', 'public.artifacts', 'public.snapshots', 'jobs.jobs'
  ] loop
    execute format('alter table %s enable row level security', t);
    execute format('alter table %s force row level security', t);
    execute format(
      'create policy workspace_only on %s using '
      '(workspace_id = current_setting(''workbench.workspace'')::uuid)', t
    );
    execute format('grant select, insert, update, delete on %s to workbench_app, workbench_worker', t);
  end loop;
end
$$;

grant usage on schema public to workbench_app, workbench_worker, workbench_bench;
grant usage on schema jobs to workbench_app, workbench_worker;
grant all on all tables in schema jobs to workbench_worker;
grant all on all sequences in schema jobs to workbench_worker;
grant usage, create on schema lake to workbench_worker;
revoke delete, truncate on jobs.jobs from workbench_app;
grant select, insert, truncate on events to workbench_bench;

-- The owner is bound by the walls as well, so this looks into each workspace in turn.
create function workspaces_with_work() returns setof uuid
language plpgsql security definer set search_path = pg_catalog, public
set "workbench.workspace" = ''
as $$
declare
  w uuid;
begin
  for w in select workspace_id from public.workspaces order by workspace_id loop
    perform set_config('workbench.workspace', w::text, true);
    if exists (select from public.runs r where r.workspace_id = w and r.snapshot_due) then
      return next w;
    end if;
  end loop;
end
$$;
revoke all on function workspaces_with_work() from public;
grant execute on function workspaces_with_work() to workbench_worker;
