-- Workspaces and their keys stand outside row-level security: a key is what names the workspace.
-- No role but the owner reads them; the others come through the functions below.

create table workspaces (
  workspace_id uuid primary key default gen_random_uuid(),
  name text not null constraint workspaces_name_unique unique,
  created_at timestamptz not null default now()
);

create table api_keys (
  key_hash bytea primary key constraint api_keys_sha256 check (octet_length(key_hash) = 32),
  workspace_id uuid not null references workspaces on delete cascade,
  role text not null constraint api_keys_role check (role in ('reader', 'writer', 'admin')),
  created_at timestamptz not null default now(),
  expires_at timestamptz
);

create function workspace_of_key(wanted bytea)
returns table (workspace_id uuid, name text, role text)
language sql stable security definer set search_path = pg_catalog, public
as $$
  select k.workspace_id, w.name, k.role
  from public.api_keys k join public.workspaces w using (workspace_id)
  where k.key_hash = wanted and (k.expires_at is null or k.expires_at > now())
$$;

-- Makes the workspace where it is new, and gives it the key where that is new.
create function create_workspace(wanted text, hash bytea, key_role text)
returns uuid
language plpgsql security definer set search_path = pg_catalog, public
as $$
declare
  made uuid;
begin
  insert into public.workspaces (name) values (wanted) on conflict (name) do nothing;
  select w.workspace_id into made from public.workspaces w where w.name = wanted;
  insert into public.api_keys (key_hash, workspace_id, role) values (hash, made, key_role)
  on conflict (key_hash) do update set role = excluded.role
  where api_keys.workspace_id = excluded.workspace_id;
  if not found then
    raise exception 'the key belongs to another workspace' using errcode = 'unique_violation';
  end if;
  return made;
end
$$;

revoke all on function workspace_of_key(bytea), create_workspace(text, bytea, text) from public;
grant execute on function workspace_of_key(bytea) to workbench_app, workbench_worker;
