// Where first settings come from without anybody asking: a disc or disk with a NoCloud seed (labelled CIDATA) or a config-drive (config-2),
// and the kernel's arguments.

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, realpathSync } from 'node:fs'
import { join } from 'node:path'
import { parseDocument } from 'yaml'
import {
  settingsFromKernel,
  settingsFromSeed,
  type GivenSettings,
  type HostLink
} from '../../src/decide/appliance-settings.ts'
import { AppError } from '../../src/domain/error.ts'
import { parseMac } from '../../src/wire/address.ts'

const MOUNT = '/run/seedling-seed'
const LABELS = ['CIDATA', 'cidata', 'config-2', 'CONFIG-2']
/** Labels in /dev are udev's; it may still be at work. */
const SETTLE_SECONDS = 15
const MOST_BYTES = 1024 * 1024

/** Settings given and where, or null when nobody gave any. Kernel arguments go before the seed, setting by setting. AppError `bad-config`. */
export function findSettings(): { given: GivenSettings; from: string } | null {
  const kernel = settingsFromKernel(readFileSync('/proc/cmdline', 'utf8'))
  const seed = readSeedDisk()
  const given = { ...seed?.given, ...kernel }
  if (Object.keys(given).length === 0) return null
  const from = [
    ...(seed && Object.keys(seed.given).length > 0 ? [seed.from] : []),
    ...(Object.keys(kernel).length > 0 ? ['kernel arguments'] : [])
  ]
  return { given, from: from.join(' and ') }
}

function readSeedDisk(): { given: GivenSettings; from: string } | null {
  spawnSync('udevadm', ['settle', `--timeout=${SETTLE_SECONDS}`])
  const label = LABELS.find((name) => existsSync(`/dev/disk/by-label/${name}`))
  if (!label) return null
  const device = realpathSync(`/dev/disk/by-label/${label}`)
  mkdirSync(MOUNT, { recursive: true })
  const { status, stderr } = spawnSync('mount', ['-o', 'ro,nosuid,nodev,noexec', device, MOUNT], {
    encoding: 'utf8'
  })
  if (status !== 0) throw new AppError('bad-config', `the seed ${label} cannot be read: ${stderr.trim()}`)
  try {
    return { given: readSeed(MOUNT), from: `the seed ${label}` }
  } finally {
    spawnSync('umount', [MOUNT])
  }
}

/** The seed in a folder. AppError `bad-config` with file and line. */
export function readSeed(folder: string): GivenSettings {
  const openstack = existsSync(join(folder, 'openstack'))
  const [user, meta, network] = openstack
    ? ['openstack/latest/user_data', 'openstack/latest/meta_data.json', 'openstack/latest/network_config']
    : ['user-data', 'meta-data', 'network-config']
  return settingsFromSeed(
    readYaml(folder, user!),
    readYaml(folder, meta!),
    openstack ? undefined : readYaml(folder, network!)
  )
}

/** JSON is YAML, too. */
function readYaml(folder: string, file: string): unknown {
  const path = join(folder, file)
  if (!existsSync(path)) return undefined
  const text = readFileSync(path, 'utf8')
  if (text.length > MOST_BYTES) throw new AppError('bad-config', `${file} of the seed is larger than 1 MiB`)
  const document = parseDocument(text, { prettyErrors: true, uniqueKeys: true })
  const [fault] = document.errors
  if (fault) throw new AppError('bad-config', `${file} of the seed: ${fault.message.split('\n')[0]}`)
  // No aliases: a few lines of them can unfold to more than the memory there is.
  try {
    return document.toJS({ maxAliasCount: 0 })
  } catch (error) {
    throw new AppError('bad-config', `${file} of the seed: ${(error as Error).message}`)
  }
}

/** The network cards of this host, by the kernel's names. */
export function hostLinks(): HostLink[] {
  const folder = '/sys/class/net'
  const read = (name: string, of: string): string => {
    try {
      return readFileSync(join(folder, name, of), 'latin1').trim()
    } catch {
      return ''
    }
  }
  return readdirSync(folder)
    .filter((name) => existsSync(join(folder, name, 'device')))
    .sort()
    .map((name) => ({
      name,
      mac: parseMac(read(name, 'address')) ?? '',
      carrier: read(name, 'carrier') === '1'
    }))
    .filter(({ mac }) => mac !== '')
}
