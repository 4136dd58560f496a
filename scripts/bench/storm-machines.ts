// The machines of the storm, in their namespace. Reads their MACs and the paths of the files that they must get from stdin as JSON, lets all
// boot at once, writes how each went.

import { readFileSync } from 'node:fs'
import { json } from 'node:stream/consumers'
import type { Mac } from '../../src/wire/address.ts'
import { aRoom } from '../../test/support/fake-machines.ts'

const { macs, files } = (await json(process.stdin)) as {
  macs: Mac[]
  files: Record<'loader' | 'kernel' | 'ramdisk', string>
}
const room = await aRoom({
  loader: readFileSync(files.loader),
  kernel: readFileSync(files.kernel),
  ramdisk: readFileSync(files.ramdisk)
})
const booted = await Promise.all(macs.map((mac) => room.boot(mac)))
await room.close()
process.stdout.write(JSON.stringify(booted))
