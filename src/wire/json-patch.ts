// JSON Patch (RFC 6902) as Ironic's clients speak it: add, replace and remove on members of objects, nothing else.

export type PatchOperation = { op: 'add' | 'replace' | 'remove'; path: string; value?: unknown }

export type Patched = { document: Record<string, unknown> } | { fault: string }

/**
 * Carries out all operations on a copy of `document`, or none: then `fault` says which could not be done and why.
 * Members of arrays cannot be addressed; replace the array as a whole.
 */
export function applyJsonPatch(
  document: Readonly<Record<string, unknown>>,
  operations: readonly PatchOperation[]
): Patched {
  const result = structuredClone(document) as Record<string, unknown>
  for (const { op, path, value } of operations) {
    const fault = applyOne(result, op, path, value)
    if (fault) return { fault: `cannot ${op} "${path}": ${fault}` }
  }
  return { document: result }
}

function applyOne(
  document: Record<string, unknown>,
  op: PatchOperation['op'],
  path: string,
  value: unknown
): string | null {
  const keys = pointer(path)
  const last = keys?.pop()
  if (!keys || last === undefined) return 'a path looks like "/extra/rack"'
  let parent = document
  for (const key of keys) {
    const child: unknown = Object.hasOwn(parent, key) ? parent[key] : undefined
    if (child === undefined || child === null) return `there is no "${key}"`
    if (typeof child !== 'object' || Array.isArray(child)) return `"${key}" is not an object`
    parent = child as Record<string, unknown>
  }
  // Assigning to this one key would change the object's prototype instead of adding a member.
  if (last === '__proto__') return '"__proto__" is not a name'
  const present = Object.hasOwn(parent, last)
  if (op !== 'add' && !present) return `there is no "${last}"`
  if (op !== 'remove' && value === undefined) return 'the value is missing'
  if (op === 'remove') delete parent[last]
  else parent[last] = structuredClone(value)
  return null
}

/** A JSON Pointer's reference tokens (RFC 6901, section 4: `~1` before `~0`); null when it is none. */
function pointer(path: string): string[] | null {
  if (!path.startsWith('/') || path === '/') return null
  return path
    .slice(1)
    .split('/')
    .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'))
}
