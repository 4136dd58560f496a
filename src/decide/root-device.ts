// Which disk to write. One chance not to wipe the wrong one: a disk is chosen only when exactly one fits.
// Hints are Ironic's `root_device` (ironic docs, "Specifying the disk for deployment"), in properties.root_device.

import type { Disk } from '../domain/inventory.ts'

export type RootDevice =
  | { disk: Disk; reason: string }
  | { refused: string; code: 'disk-missing' | 'disk-too-small' | 'disk-ambiguous' }

/** Hint name → does this disk fit? Text hints compare without case; `size` is in GiB and may carry >=, <= or ==. */
const HINTS: Record<string, (disk: Disk, wanted: string) => boolean> = {
  name: (disk, wanted) => disk.path === wanted,
  serial: (disk, wanted) => same(disk.serial, wanted),
  wwn: (disk, wanted) => same(disk.wwn?.replace(/^0x/i, '') ?? null, wanted.replace(/^0x/i, '')),
  model: (disk, wanted) => contains(disk.model, wanted),
  vendor: (disk, wanted) => contains(disk.vendor, wanted),
  size: (disk, wanted) => compareSize(disk.size, wanted),
  rotational: (disk, wanted) => disk.rotational === (wanted.toLowerCase() === 'true')
}

/** Hints that name one disk, where the others only describe some. */
const NAMING_HINTS = ['name', 'serial', 'wwn']

function same(value: string | null, wanted: string): boolean {
  return value !== null && value.trim().toLowerCase() === wanted.trim().toLowerCase()
}

function contains(value: string | null, wanted: string): boolean {
  return value !== null && value.toLowerCase().includes(wanted.trim().toLowerCase())
}

function compareSize(bytes: number, wanted: string): boolean {
  const match = /^(>=|<=|==|=|>|<)?\s*(\d+)$/.exec(wanted.trim())
  if (!match) return false
  const gib = Math.floor(bytes / 2 ** 30)
  const limit = Number(match[2])
  switch (match[1]) {
    case '>=':
      return gib >= limit
    case '<=':
      return gib <= limit
    case '>':
      return gib > limit
    case '<':
      return gib < limit
    default:
      return gib === limit
  }
}

export function describeDisk(disk: Disk): string {
  const names = [disk.model, disk.serial && `serial ${disk.serial}`, disk.wwn && `wwn ${disk.wwn}`]
  return `${disk.path} (${(disk.size / 2 ** 30).toFixed(1)} GiB${names
    .filter(Boolean)
    .map((name) => ', ' + name)
    .join('')}${disk.usb ? ', on USB' : ''})`
}

/**
 * Picks the disk for an image of `imageSize` bytes plus `spare` bytes for the config-drive. Unknown hints refuse: a hint that
 * is not understood must not widen the choice.
 */
export function chooseRootDevice(
  disks: readonly Disk[],
  hints: Readonly<Record<string, unknown>>,
  imageSize: number,
  spare = 65 * 2 ** 20
): RootDevice {
  const unknown = Object.keys(hints).filter((hint) => !(hint in HINTS))
  if (unknown.length > 0)
    return {
      code: 'disk-missing',
      refused: `root_device has hints that Seedling does not know: ${unknown.join(', ')}; known are ${Object.keys(HINTS).join(', ')}`
    }
  // On USB is what iPXE or a rescue system came from, or what somebody forgot: sticks that say they are fixed look like any disk.
  const usbWanted = NAMING_HINTS.some((hint) => hint in hints)
  const usable = disks.filter(
    (disk) => !disk.removable && !disk.readOnly && disk.size > 0 && (usbWanted || !disk.usb)
  )
  const seen = disks.length === 0 ? 'no disk at all' : disks.map(describeDisk).join('; ')
  const hinted = usable.filter((disk) =>
    Object.entries(hints).every(([hint, wanted]) => HINTS[hint]?.(disk, String(wanted)))
  )
  if (hinted.length === 0) {
    const asked = Object.entries(hints).map(([hint, wanted]) => `${hint}=${String(wanted)}`)
    return {
      code: 'disk-missing',
      refused:
        asked.length > 0
          ? `no disk fits the root_device hints ${asked.join(', ')}; the machine has: ${seen}`
          : `the machine has no disk that can be written (removable and read-only ones do not count, nor those on USB unless root_device names one); it has: ${seen}`
    }
  }
  const fitting = hinted.filter((disk) => disk.size >= imageSize + spare)
  const [disk, ...others] = fitting
  if (!disk)
    return {
      code: 'disk-too-small',
      refused: `the image needs ${imageSize + spare} bytes on a disk that may be written; the machine has: ${seen}`
    }
  if (others.length > 0)
    return {
      code: 'disk-ambiguous',
      refused:
        `${fitting.length} disks fit and nothing says which: ${fitting.map(describeDisk).join('; ')}; ` +
        'set properties.root_device on the node, for example {"serial": "…"}, and deploy again'
    }
  const reason =
    Object.keys(hints).length > 0 ? 'the only disk that fits the hints' : 'the only disk that fits'
  return { disk, reason }
}
