// How things look at the terminal.

/** Rows as aligned columns under their titles; `null` shows as `-`. */
export function table(titles: readonly string[], rows: readonly (readonly unknown[])[]): string {
  const cells = [titles, ...rows.map((row) => row.map(cell))]
  const widths = titles.map((_, column) => Math.max(...cells.map((row) => (row[column] ?? '').length)))
  return cells
    .map((row) =>
      row
        .map((text, column) => text.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd()
    )
    .join('\n')
}

/** A record as two columns. Nested values are shown as JSON. */
export function record(values: Readonly<Record<string, unknown>>): string {
  const width = Math.max(...Object.keys(values).map((key) => key.length))
  return Object.entries(values)
    .map(([key, value]) => `${key.padEnd(width)}  ${cell(value)}`)
    .join('\n')
}

/** Host names and the like are whatever a machine sends: what would steer the terminal is shown as `?`. */
function cell(value: unknown): string {
  if (value === null || value === undefined || value === '') return '-'
  const text = typeof value === 'object' ? JSON.stringify(value) : String(value)
  return printed(text)
}

/** For the terminal: what machines say of themselves is not to steer it. */
export const printed = (text: string): string => text.replace(/\p{Cc}/gu, '?')

/** `1.5 GiB`. */
export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let unit = 0
  while (count >= 1024 && unit < units.length - 1) {
    count /= 1024
    unit++
  }
  return `${unit === 0 ? count : count.toFixed(1)} ${units[unit]}`
}

/** A span: `0.4s`, `12s`, `3m05s`, `2h10m`, `3d4h`. */
export function span(milliseconds: number): string {
  const seconds = Math.max(0, milliseconds) / 1000
  if (seconds < 10) return `${seconds.toFixed(1)}s`
  const whole = Math.round(seconds)
  if (whole < 60) return `${whole}s`
  const minutes = Math.floor(whole / 60)
  if (minutes < 60) return `${minutes}m${two(whole % 60)}s`
  const hours = Math.floor(minutes / 60)
  return hours < 48 ? `${hours}h${two(minutes % 60)}m` : `${Math.floor(hours / 24)}d${hours % 24}h`
}

/** Time of day, local, with milliseconds only where `fine`. */
export function clock(iso: string): string {
  const at = new Date(iso)
  return [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(':')
}

/** `2026-11-23 08:15:44`, local. */
export function day(iso: string): string {
  const at = new Date(iso)
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${clock(iso)}`
}

function two(number: number): string {
  return String(number).padStart(2, '0')
}

/** A bar of `width` signs. */
export function bar(part: number, width = 30): string {
  const full = Math.round(Math.min(1, Math.max(0, part)) * width)
  return '█'.repeat(full) + '░'.repeat(width - full)
}
