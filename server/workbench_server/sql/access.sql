-- Who is asking, and what the database lets this process see.

-- name: role
-- Superusers, BYPASSRLS roles and a table's owner are not bound as the walls need it.
select
  r.rolname as name,
  r.rolsuper or r.rolbypassrls or exists (
    select from pg_class c
    where c.relname = 'runs' and c.relkind in ('r', 'p') and pg_has_role(r.oid, c.relowner, 'usage')
  ) as unsafe,
  to_regclass('public.runs') is not null as migrated
from pg_roles r
where r.rolname = current_user

-- name: enter
-- Every transaction begins with this; it ends with the transaction.
select set_config('workbench.workspace', %(workspace_id)s, true)

-- name: workspace_of_key
-- A security definer function: no role of ours reads the table of keys.
select workspace_id, name, role from workspace_of_key(%(key_hash)s)

-- name: create_workspace
-- The owner's: makes the workspace where it is new, and gives it the key where that is new.
select create_workspace(%(name)s, %(key_hash)s, %(role)s) as workspace_id

-- name: alive
-- The cheapest question there is.
select 1 as alive
