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
select workspace_id, name, role, key_id, limits, lasts_s, rules, key_version
from workspace_of_key(%(key_hash)s)

-- name: create_workspace
-- The owner's: makes the workspace where it is new, and gives it the key where that is new.
select create_workspace(%(name)s, %(key_hash)s, %(role)s) as workspace_id

-- name: alive
-- The cheapest question there is.
select 1 as alive

-- name: list_keys
-- A security definer function, as the next four: it looks at the workspace of the transaction alone.
select * from list_keys()

-- name: create_key
-- Only the key's hash is stored.
select * from create_key(
  %(key_id)s, %(prefix)s, %(key_hash)s, %(role)s, %(name)s, %(expires_at)s
)

-- name: rotate_key
-- The old key ends after the overlap; no row where the workspace has no such key.
select * from rotate_key(
  %(old)s, %(key_id)s, %(prefix)s, %(key_hash)s, make_interval(secs => %(overlap_s)s)
)

-- name: revoke_key
-- No row where the workspace has no such key.
select * from revoke_key(%(key_id)s)

-- name: limits
-- Only what differs from the defaults is stored.
select workspace_limits() as limits

-- name: change_limits
-- A limit set to null is the default again.
select change_limits(%(change)s::jsonb) as limits

-- name: redaction
-- The rules, and the key that whoever writes makes placeholders with.
select rules, key, key_version from workspace_redaction()

-- name: change_redaction
-- All rules at once.
select rules, key, key_version from change_redaction(%(rules)s::jsonb)
