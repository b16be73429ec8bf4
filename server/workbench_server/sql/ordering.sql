-- Where a page of any listing begins, and its order. `{key}` stands for what is sorted by, `{tie}` for
-- what decides among equals. Nulls come last; a key that is never null goes by its index both ways.

-- name: after_desc
and ({key}, {tie}) < (%(after)s, %(after_tie)s)

-- name: after_asc
and ({key}, {tie}) > (%(after)s, %(after_tie)s)

-- name: order_desc
order by {key} desc, {tie} desc limit %(limit)s

-- name: order_asc
order by {key}, {tie} limit %(limit)s

-- name: after_desc_nulls
and (({key}, {tie}) < (%(after)s, %(after_tie)s) or {key} is null)

-- name: after_asc_nulls
and (({key}, {tie}) > (%(after)s, %(after_tie)s) or {key} is null)

-- name: among_desc_nulls
and {key} is null and {tie} < %(after_tie)s

-- name: among_asc_nulls
and {key} is null and {tie} > %(after_tie)s

-- name: order_desc_nulls
order by {key} desc nulls last, {tie} desc limit %(limit)s

-- name: order_asc_nulls
order by {key} nulls last, {tie} limit %(limit)s
