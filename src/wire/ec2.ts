// The EC2 metadata tree as text: a folder reads as the list of what is in it, a leaf as its value. Lists have no newline at their
// end and are never empty: os-collect-config dies of either.

import { WireError } from './wire-error.ts'

/**
 * A folder. A key ends where a `=` stands: `0=default` is listed as it is, and read as `0` (public keys are numbered and carry their
 * name that way).
 */
export type Ec2Tree = { readonly [key: string]: string | Ec2Tree }

/** The node's own name in a path. */
function pathName(key: string): string {
  const equals = key.indexOf('=')
  return equals < 0 ? key : key.slice(0, equals)
}

function list(folder: Ec2Tree): string {
  const lines = Object.entries(folder).map(([key, value]) =>
    typeof value === 'string' || key.includes('=') ? key : `${key}/`
  )
  return lines.join('\n')
}

/**
 * What a GET of `path` (below the tree's root, slash-separated, with or without a slash at either end) answers; undefined: no such thing.
 * A folder answers its list either way, as clients differ in what they ask.
 */
export function readEc2(tree: Ec2Tree, path: string): string | undefined {
  let found: string | Ec2Tree = tree
  for (const part of path.split('/')) {
    if (part === '') continue
    if (typeof found === 'string') return undefined
    const entry: [string, string | Ec2Tree] | undefined = Object.entries(found).find(
      ([key]) => pathName(key) === part
    )
    if (!entry) return undefined
    found = entry[1]
  }
  return typeof found === 'string' ? found : list(found)
}

/** Holds a tree to the rules above, WireError `ec2-tree` when one is broken: names and values of one line, no empty folder. */
export function checkEc2(tree: Ec2Tree): Ec2Tree {
  const entries = Object.entries(tree)
  if (entries.length === 0) throw new WireError('ec2-tree', 0, 'EC2: an empty folder')
  for (const [key, value] of entries) {
    if (pathName(key) === '' || /[/\n\r]/.test(key))
      throw new WireError('ec2-tree', 0, `EC2: ${JSON.stringify(key)} cannot be a name`)
    if (typeof value !== 'string') checkEc2(value)
    else if (/[\n\r]/.test(value))
      throw new WireError('ec2-tree', 0, `EC2: the value of ${key} has several lines`)
  }
  return tree
}
