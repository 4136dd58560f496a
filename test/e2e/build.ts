// What a rack serves, built when it is absent or out of date.

import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { root } from '../../scripts/lab/lab.ts'

/** The ramdisk, for other architectures too, the boot loaders and a sample image. @throws Error with what the build said */
export function buildAll(image: string, ...architectures: string[]): void {
  for (const [program = '', ...args] of [
    ['image/ramdisk/build'],
    ...architectures.map((name) => ['image/ramdisk/build', name]),
    ['image/ipxe/fetch'],
    ['image/shim/fetch'],
    ['image/instance/build', image]
  ]) {
    const { status, stderr } = spawnSync(join(root, program), args, { encoding: 'utf8' })
    if (status !== 0) throw new Error(`${program} failed: ${stderr}`)
  }
}
