// Rows ⇄ objects: columns are the snake_case of the fields, flags are 0/1, objects are JSON text.

const FLAGS = new Set(['maintenance', 'pxe_enabled', 'synchronised'])
const JSON_COLUMNS = new Set([
  'driver_info',
  'properties',
  'extra',
  'instance_info',
  'inventory',
  'power_ons',
  'quirk_card',
  'local_link_connection',
  'public_keys',
  'metadata',
  'ticks',
  'asked',
  'reading',
  'trouble',
  'progress',
  'loader_trial',
  'failure',
  'handover',
  'fenced',
  'detail'
])

type Row = Record<string, unknown>

const snake = new Map<string, string>()
const camel = new Map<string, string>()

function toSnake(name: string): string {
  let found = snake.get(name)
  if (found === undefined) {
    found = name.replace(/[A-Z]/g, (letter) => '_' + letter.toLowerCase())
    snake.set(name, found)
  }
  return found
}

function toCamel(name: string): string {
  let found = camel.get(name)
  if (found === undefined) {
    found = name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())
    camel.set(name, found)
  }
  return found
}

export function toRow(object: object): Row {
  const row: Row = {}
  for (const [name, value] of Object.entries(object)) {
    const column = toSnake(name)
    if (value !== null && JSON_COLUMNS.has(column)) row[column] = JSON.stringify(value)
    else if (typeof value === 'boolean') row[column] = value ? 1 : 0
    else row[column] = value
  }
  return row
}

export function fromRow<T>(row: unknown): T | null {
  if (row === undefined || row === null) return null
  const object: Row = {}
  for (const [column, value] of Object.entries(row)) {
    if (value !== null && JSON_COLUMNS.has(column)) object[toCamel(column)] = JSON.parse(value as string)
    else if (FLAGS.has(column)) object[toCamel(column)] = value === 1
    else object[toCamel(column)] = value
  }
  return object as T
}
