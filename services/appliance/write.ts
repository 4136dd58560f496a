// Puts the appliance's settings on disk.

import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { applianceFiles } from '../../src/decide/appliance-files.ts'
import type { ApplianceSettings } from '../../src/decide/appliance-settings.ts'

/** Where the units of the appliance look (image/appliance). */
export const STATE = '/var/lib/appliance'
const SECRET = new Set(['authorized_keys', 'settings.json'])

/**
 * Writes every file, each at once or not at all, settings.json last: whoever is cut off before has not set anything up. AppError
 * `bad-config`, with nothing written, when the configuration that comes of them is none.
 */
export async function writeSettings(settings: ApplianceSettings, folder = STATE): Promise<void> {
  const files = applianceFiles(settings)
  // What the settings themselves make is a configuration (test/decide/appliance-settings.test.ts); and loading its schema takes a slow
  // machine seconds of its first boot.
  if (Object.keys(settings.config).length > 0) {
    const { checkConfig } = await import('../config.ts')
    checkConfig(JSON.parse(files['seedling.json']!), '/', 'the settings make a configuration that cannot be')
  }
  mkdirSync(folder, { recursive: true })
  for (const [name, content] of Object.entries(files)) replace(join(folder, name), content, SECRET.has(name))
  const handle = openSync(folder, 'r')
  fsyncSync(handle)
  closeSync(handle)
}

/** What was written last; null: nothing yet. */
export function readSettings(folder = STATE): ApplianceSettings | null {
  try {
    return JSON.parse(readFileSync(join(folder, 'settings.json'), 'utf8')) as ApplianceSettings
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}

function replace(path: string, content: string, secret: boolean): void {
  const handle = openSync(`${path}.new`, 'w', secret ? 0o600 : 0o644)
  writeSync(handle, content)
  fsyncSync(handle)
  closeSync(handle)
  renameSync(`${path}.new`, path)
}
