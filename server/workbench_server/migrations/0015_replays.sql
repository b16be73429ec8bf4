-- Replays as jobs: asked for once by a key of their own, taken up by any worker, watched, cancelled.

alter table jobs.jobs
  drop constraint jobs_kind,
  add constraint jobs_kind check (kind in ('snapshot', 'replay')),
  drop constraint jobs_status,
  add constraint jobs_status check (status in ('queued', 'running', 'done', 'failed', 'cancelled')),
  -- What was asked for, and the hash of it: a key that comes again has to ask for the same.
  add column args jsonb not null default '{}',
  add column args_hash bytea constraint jobs_args_hash check (octet_length(args_hash) = 32),
  -- The run that the job makes.
  add column run_id uuid,
  add column result jsonb,
  -- The run as it was played, kept before any of it is stored: a job taken up again stores this one.
  add column staged text,
  -- How often a worker began; whoever is not the last one to begin may say nothing more of the job.
  add column attempts integer not null default 0,
  add column cancel_requested boolean not null default false,
  add column started_at timestamptz,
  add column heartbeat_at timestamptz,
  add column ended_at timestamptz,
  add constraint jobs_replay check (kind <> 'replay' or (run_id is not null and args_hash is not null));
create index jobs_replays on jobs.jobs (workspace_id, created_at desc, job_id desc)
where kind = 'replay';

-- Snapshots of a workspace run one at a time. Replays run side by side, and in a queue of their own:
-- long ones keep nobody from the lake.
create or replace function jobs.enqueue() returns trigger
language plpgsql security definer set search_path = pg_catalog, jobs, pg_temp
as $$
begin
  insert into jobs.procrastinate_jobs (queue_name, task_name, lock, args) values (
    case new.kind when 'replay' then 'replays' else 'workbench' end,
    new.kind,
    new.kind || ':' || case new.kind when 'replay' then new.job_id else new.workspace_id end,
    jsonb_build_object('workspace_id', new.workspace_id, 'job_id', new.job_id)
  );
  return new;
end
$$;

-- A key that a worker has for one job: it writes as a writer of the workspace does, ends by itself
-- soon, and is gone with the job. It is no key of the workspace's admins, so they do not see it.
alter table api_keys add column lent_to uuid;
create index api_keys_lent on api_keys (workspace_id, lent_to) where lent_to is not null;

-- Whoever had it for this job before can do nothing more with it.
create function lend_key(job uuid, id text, visible text, hash bytea, lasts_s double precision)
returns void
language sql volatile security definer set search_path = pg_catalog, public, pg_temp
as $$
  delete from public.api_keys k
  where k.workspace_id = current_setting('workbench.workspace')::uuid and k.lent_to = job;
  insert into public.api_keys (
    key_id, prefix, key_hash, workspace_id, role, name, expires_at, lent_to
  ) values (
    id, visible, hash, current_setting('workbench.workspace')::uuid, 'writer', 'lent to a job',
    now() + make_interval(secs => lasts_s), job
  )
$$;

create function take_back_key(job uuid) returns void
language sql volatile security definer set search_path = pg_catalog, public, pg_temp
as $$
  delete from public.api_keys k
  where k.workspace_id = current_setting('workbench.workspace')::uuid and k.lent_to = job
$$;

create or replace function list_keys() returns setof public_key
language sql stable security definer set search_path = pg_catalog, public, pg_temp
as $$
  select (public.shown(k)).* from public.api_keys k
  where k.workspace_id = current_setting('workbench.workspace')::uuid and k.lent_to is null
  order by k.created_at, k.key_id
$$;

do $$
declare
  f text;
begin
  foreach f in array array[
    'lend_key(uuid, text, text, bytea, double precision)', 'take_back_key(uuid)'
  ] loop
    execute format('revoke all on function %s from public', f);
    execute format('grant execute on function %s to workbench_worker', f);
  end loop;
end
$$;
