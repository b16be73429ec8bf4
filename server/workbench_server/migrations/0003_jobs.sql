-- What was asked for, by a key of its own; the queue's job is written in the same transaction.

create table jobs.jobs (
  workspace_id uuid not null,
  job_id uuid not null default gen_random_uuid(),
  job_key text not null,
  kind text not null constraint jobs_kind check (kind in ('snapshot')),
  status text not null default 'queued' constraint jobs_status check (
    status in ('queued', 'running', 'done', 'failed')
  ),
  progress jsonb not null default '{}',
  result_artifact text,
  error jsonb,
  created_at timestamptz not null default now(),
  constraint jobs_id primary key (workspace_id, job_id),
  constraint jobs_key_unique unique (workspace_id, job_key)
);

-- The app role may ask for a job and see its own, but cannot touch the queue.
create function jobs.enqueue() returns trigger
language plpgsql security definer set search_path = pg_catalog, jobs
as $$
begin
  insert into jobs.procrastinate_jobs (queue_name, task_name, lock, args) values (
    'workbench',
    new.kind,
    new.kind || ':' || new.workspace_id,
    jsonb_build_object('workspace_id', new.workspace_id, 'job_id', new.job_id)
  );
  return new;
end
$$;
revoke all on function jobs.enqueue() from public;
create trigger jobs_enqueue after insert on jobs.jobs for each row execute function jobs.enqueue();
