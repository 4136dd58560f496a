// The tiny image boots from a deployed disk by either firmware, and gives its sign of life. Real firmware, real kernel.

import { join } from 'node:path'
import t from 'tap'
import { bootMachine, deployedDisk, metadataServer, sampleImage, workFolder } from './machine.ts'
import type { ConfigDrive, Firmware } from './machine.ts'

// Building, where it has not been done, takes a minute; emulated machines beside other tests take their time too.
t.jobs = 2
t.setTimeout(600_000)

const image = sampleImage('tiny')
const work = workFolder()
t.teardown(work.remove)

const cases: {
  says: string
  firmware: Firmware
  drive: ConfigDrive
  served: Record<string, string>
  hostname: string
}[] = [
  {
    says: 'BIOS: the hostname is the config-drive’s, and the metadata service is asked all the same',
    firmware: 'bios',
    drive: { 'openstack/latest/meta_data.json': { uuid: 'a-1', hostname: 'from-drive', name: 'other' } },
    served: { '/latest/meta-data/instance-id': 'i-0001', '/latest/meta-data/local-hostname': 'from-service' },
    hostname: 'from-drive'
  },
  {
    says: 'UEFI: without a name on the config-drive the hostname is the metadata service’s',
    firmware: 'uefi',
    drive: { 'openstack/latest/meta_data.json': { uuid: 'a-2' } },
    served: { '/latest/meta-data/instance-id': 'i-0002', '/latest/meta-data/local-hostname': 'from-service' },
    hostname: 'from-service'
  }
]

await Promise.all(
  cases.map(({ says, firmware, drive, served, hostname }) =>
    t.test(says, { buffered: true, timeout: 300_000 }, async (t) => {
      const disk = join(work.path, `${firmware}.raw`)
      deployedDisk(image, disk, drive)
      const server = await metadataServer(({ path }) => served[path])
      const machine = bootMachine({
        disk,
        firmware,
        mac: '52:54:00:00:00:01',
        memoryMiB: 256,
        cpus: 1,
        metadataAddress: '169.254.169.254',
        metadataPort: server.port
      })
      t.teardown(machine.stop)
      t.teardown(server.close)
      const [, name, address] = await machine.seen(/seedling-tiny: up hostname=(\S+) address=(\S+)\s/, 240)
      t.comment(`${firmware}: up after ${machine.seconds()} s`)
      t.equal(name, hostname)
      t.match(address, /^169\.254\.169\.\d+$/)
      t.match(server.calls, [{ method: 'GET', path: '/latest/meta-data/instance-id' }])
      t.notMatch(machine.console, /panic|not found|Oops/i)
    })
  )
)
