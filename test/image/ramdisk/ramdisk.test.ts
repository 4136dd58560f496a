// The deploy ramdisk in a real machine (QEMU) against the agent protocol: what it reports, what it writes, and
// what it does when chunks are bad, the server goes away, or the disk is not the one that was meant.
import { execFileSync } from 'node:child_process'
import {
  closeSync,
  copyFileSync,
  openSync,
  readFileSync,
  readSync,
  truncateSync,
  writeFileSync
} from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { crc32, zstdCompressSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { type Inventory, type Options, startAgentServer } from './agent-server.ts'
import { buildRamdisk, type Machine, ovmf, startMachine } from './machine.ts'
import { makeImage, MiB, type TestImage } from './whole-disk.ts'

t.setTimeout(1_200_000)

const token = '5eed'.repeat(16)
const bootMac = '52:54:00:12:34:56'
const files = {
  'openstack/latest/meta_data.json': '{"uuid":"one"}\n',
  'openstack/latest/user_data': '#cloud-config\n',
  'ec2/latest/meta-data.json': '{}\n'
}

/** A disk file filled with 0xaa, so that a byte that was written can be told from one that was not. */
const makeDisk = (path: string, size: number) => {
  writeFileSync(path, Buffer.alloc(MiB, 0xaa))
  const piece = Buffer.alloc(16 * MiB, 0xaa)
  for (let at = 0; at < size; at += piece.length) writeFileSync(path, piece, { flag: at === 0 ? 'w' : 'a' })
  truncateSync(path, size)
}

const readAt = (path: string, offset: number, length: number): Buffer => {
  const file = openSync(path, 'r')
  const bytes = Buffer.alloc(length)
  readSync(file, bytes, 0, length, offset)
  closeSync(file)
  return bytes
}

const deployTask = (image: TestImage, disk: object, url: string) => ({
  task: 'deploy',
  disk,
  image: {
    size: image.bytes.length,
    chunkSize: image.chunkSize,
    digest: image.digest,
    manifestUrl: `${url}/images/${image.digest}/manifest`,
    chunkUrl: `${url}/images/chunks/`
  },
  configDriveUrl: `${url}/agent/config-drive`,
  bootMode: 'bios',
  then: 'reboot'
})

const target = (inventory: Inventory, serial: string) => {
  const found = inventory.disks.find((disk) => disk.serial === serial)
  if (!found) throw new Error(`no disk ${serial} reported: ${JSON.stringify(inventory.disks)}`)
  return { path: found.path, size: found.size, serial: found.serial, wwn: found.wwn }
}

const commandLine = (url: string) =>
  `console=ttyS0 quiet BOOTIF=01-${bootMac.replaceAll(':', '-')} seedling.url=${url} seedling.token=${token}`

/** Waits for the machine's own end, or for `failed`, whichever comes first; kills it after `seconds`. */
const watch = async (machine: Machine, seconds: number, failed: Promise<unknown>) => {
  const late = setTimeout(() => void machine.kill(), seconds * 1000)
  const outcome = await Promise.race([machine.ended, failed])
  clearTimeout(late)
  return outcome
}

const bootNic = ['-netdev', 'user,id=lan', '-device', `virtio-net-pci,netdev=lan,mac=${bootMac},romfile=`]

/** The partitions of a GPT disk, its two headers checked: each in its place, each whole, telling of the other. */
const readGpt = (t: Test, disk: string, size: number, sector: number) => {
  const last = size / sector - 1
  for (const [own, other] of [
    [1, last],
    [last, 1]
  ] as const) {
    const header = readAt(disk, own * sector, 92)
    const sum = header.readUInt32LE(16)
    header.writeUInt32LE(0, 16)
    t.match(
      {
        signature: header.toString('latin1', 0, 8),
        sum,
        own: Number(header.readBigUInt64LE(24)),
        other: Number(header.readBigUInt64LE(32))
      },
      { signature: 'EFI PART', sum: crc32(header), own, other },
      own === 1 ? 'the first GPT tells of the second' : "the second GPT is at the disk's end"
    )
  }
  const table = readAt(disk, 2 * sector, 128 * 128)
  return Array.from({ length: 128 }, (_, index) => table.subarray(index * 128, index * 128 + 128))
    .filter((entry) => !entry.subarray(0, 16).equals(Buffer.alloc(16)))
    .map((entry) => ({
      start: Number(entry.readBigUInt64LE(32)) * sector,
      end: (Number(entry.readBigUInt64LE(40)) + 1) * sector,
      name: entry.toString('utf16le', 56, 128).replace(/\0.*$/s, '')
    }))
}

/** What must be true of a disk after a deploy, whatever the firmware and the sector size. */
const checkDisk = (t: Test, disk: string, size: number, image: TestImage, sector: number) => {
  const head = 2 * sector + 128 * 128
  t.ok(
    readAt(disk, head, image.bytes.length - head).equals(image.bytes.subarray(head)),
    'the image is on the disk'
  )
  const drive = readGpt(t, disk, size, sector).at(-1)
  t.match(drive, { name: 'config-2', start: Number }, 'the last partition is the config-drive')
  const { start, end } = drive as { start: number; end: number }
  t.equal(end - start, 64 * MiB, 'of 64 MiB')
  t.ok(end > size - 2 * MiB, "at the disk's end")
  const volume = `${disk}.volume`
  writeFileSync(volume, readAt(disk, start, end - start))
  const label = execFileSync('mlabel', ['-s', '-i', volume, '::'], { encoding: 'utf8' })
  t.match(label, /Volume label is config-2/i, 'labelled config-2')
  t.equal(readAt(volume, 11, 2).readUInt16LE(), sector, 'with sectors of the disk')
  for (const [path, text] of Object.entries(files)) {
    t.equal(
      execFileSync('mtype', ['-i', volume, `::/${path}`], { encoding: 'utf8' }),
      text,
      `holding ${path}`
    )
  }
}

/** A server that hands out a deployment of `image` to the disk with `serial`. */
const deployServer = (image: TestImage, serial: string, more: Partial<Options> = {}) =>
  startAgentServer({
    token,
    image,
    files,
    task: (inventory, url) => deployTask(image, target(inventory, serial), url),
    ...more
  })

t.before(buildRamdisk)

t.test('deploys in BIOS mode through a corrupted chunk and a server that goes away', async (t) => {
  const folder = t.testdir()
  const size = 192 * MiB
  const disk = `${folder}/disk`
  makeDisk(disk, size)
  const image = makeImage(folder, 36 * MiB, 512)
  const sums = [...image.chunks.keys()]
  const [first, vanishing] = [sums[1], sums.at(-2)] as [string, string]
  const offset = Number(
    image.manifest
      .split('\n')
      .find((line) => line.endsWith(first))
      ?.split('\t')[0]
  )
  let found: Buffer | undefined
  const server = await deployServer(image, 'SEED-1', {
    onChunk: (sum, times) => {
      if (sum === first && times === 1) return zstdCompressSync(Buffer.alloc(image.chunkSize, 'wrong'))
      if (sum === first && times === 2) found = readAt(disk, offset, image.chunkSize)
      return sum === vanishing && times === 1 ? 'vanish' : undefined
    }
  })
  t.teardown(server.close)
  const machine = startMachine(
    folder,
    // prettier-ignore
    ['-smbios', 'type=1,manufacturer=Acme,product=Anvil 3,serial=SN-42,uuid=00112233-4455-6677-8899-aabbccddeeff',
      '-netdev', 'user,id=other', '-device', 'virtio-net-pci,netdev=other,mac=52:54:00:00:00:09,romfile=',
      ...bootNic, '-object', `filter-dump,id=dump,netdev=lan,file=${folder}/lan.pcap`,
      '-drive', `file=${disk},format=raw,if=none,id=one,cache=writeback`,
      '-device', 'virtio-blk-pci,drive=one,serial=SEED-1',
      '-drive', 'driver=null-co,size=1G,read-zeroes=on,if=none,id=two',
      '-device', 'virtio-scsi-pci', '-device', 'scsi-hd,drive=two,serial=SEED-2,wwn=0x5000c50015ea71ac',
      '-device', 'ich9-ahci,id=sata', '-device', 'ide-cd,bus=sata.0',
      '-device', 'qemu-xhci', '-drive', 'driver=null-co,size=64M,read-zeroes=on,if=none,id=stick',
      '-device', 'usb-storage,drive=stick,serial=SEED-3,removable=off'],
    commandLine(server.url)
  )
  t.teardown(machine.kill)
  t.equal(await watch(machine, 400, server.heard('POST /agent/failed')), 0, `rebooted\n${machine.console()}`)

  const hello = server.calls.find((call) => call.name === 'POST /agent/hello')?.body as Inventory
  t.match(
    hello,
    {
      uuid: '00112233-4455-6677-8899-aabbccddeeff',
      serial: 'SN-42',
      vendor: 'Acme',
      model: 'Anvil 3',
      bootMode: 'bios',
      bootInterface: bootMac,
      arch: 'x86_64',
      secureBoot: false,
      cpus: 2,
      cpuModel: /QEMU/,
      memoryMiB: 768,
      linkLosses: 0,
      clock: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/
    },
    'says what the machine is'
  )
  t.same(
    (hello.interfaces as { mac: string; driver: string; carrier: boolean }[])
      .map(({ mac, driver, carrier }) => ({ mac, driver, carrier }))
      .sort((a, b) => (a.mac < b.mac ? -1 : 1)),
    ['52:54:00:00:00:09', bootMac].map((mac) => ({ mac, driver: 'virtio_net', carrier: true })),
    'names every NIC'
  )
  t.match(
    hello.disks.find((d) => d.serial === 'SEED-1'),
    { path: '/dev/vda', size, removable: false, readOnly: false, logicalSectorSize: 512, signatures: [] },
    'names the virtio disk'
  )
  t.match(
    hello.disks.find((d) => d.serial === 'SEED-2'),
    { size: 1024 * MiB, wwn: '0x5000c50015ea71ac', model: 'QEMU HARDDISK', vendor: 'QEMU', removable: false },
    'names the SCSI disk'
  )
  const stick = hello.disks.find((d) => d.size === 64 * MiB)
  t.match(stick, { usb: true, removable: false }, 'names the disk on USB, though it says that it is fixed')
  t.same(
    hello.disks.filter((d) => d.usb && d !== stick),
    [],
    'and no other as such'
  )
  const { addressSeconds } = hello as unknown as { addressSeconds: number }
  t.ok(addressSeconds >= 0 && addressSeconds < 60, `waited ${addressSeconds} s for its address`)
  t.match(
    hello.disks.find((d) => d.path === '/dev/sr0'),
    { removable: true },
    'names the CD drive, as removable'
  )
  t.ok(
    readFileSync(`${folder}/lan.pcap`).includes('seedling-ramdisk'),
    'its DHCP requests carry the vendor class'
  )

  t.ok(
    found?.equals(Buffer.alloc(image.chunkSize, 0xaa)),
    'the corrupted chunk was not on the disk when fetched again'
  )
  t.equal(server.delivered.get(first), 2, 'it was fetched twice')
  t.same(
    [...server.delivered].filter(([sum]) => sum !== first),
    sums.filter((sum) => sum !== first).map((sum) => [sum, 1]),
    'all others were sent once, in order: after the interruption it went on at its chunk'
  )
  t.same(
    server.calls.find((call) => call.name === 'POST /agent/written')?.body,
    { digest: image.digest },
    'reports the digest read back'
  )
  const stages = server.calls
    .filter((c) => c.name === 'POST /agent/progress')
    .map((c) => c.body as { stage: string })
  t.same(
    [...new Set(stages.map((s) => s.stage))],
    ['writing', 'verifying', 'finishing'],
    'reports its progress'
  )
  checkDisk(t, disk, size, image, 512)
})

t.test('deploys in UEFI mode to a disk with 4096 byte sectors, which the firmware then boots', async (t) => {
  const folder = t.testdir()
  const size = 128 * MiB
  const disk = `${folder}/disk`
  makeDisk(disk, size)
  const image = makeImage(folder, 24 * MiB, 4096)
  const server = await deployServer(image, 'SEED-4K')
  t.teardown(server.close)
  const { code, vars } = ovmf()
  copyFileSync(vars, `${folder}/vars`)
  // prettier-ignore
  const hardware = [
    '-drive', `if=pflash,format=raw,readonly=on,file=${code}`, '-drive', `if=pflash,format=raw,file=${folder}/vars`,
    '-drive', `file=${disk},format=raw,if=none,id=one,cache=writeback`,
    '-device', 'nvme,drive=one,serial=SEED-4K,logical_block_size=4096,physical_block_size=4096'
  ]
  const machine = startMachine(folder, [...hardware, ...bootNic], commandLine(server.url))
  t.teardown(machine.kill)
  t.equal(await watch(machine, 400, server.heard('POST /agent/failed')), 0, `rebooted\n${machine.console()}`)
  t.match(
    server.calls.find((call) => call.name === 'POST /agent/hello')?.body,
    {
      bootMode: 'uefi',
      secureBoot: false,
      disks: [{ path: '/dev/nvme0n1', serial: 'SEED-4K', logicalSectorSize: 4096 }]
    },
    'says how it booted and what the disk is like'
  )
  checkDisk(t, disk, size, image, 4096)

  const installed = startMachine(folder, [...hardware, '-nic', 'none'])
  t.teardown(installed.kill)
  const until = Date.now() + 200_000
  // What the test image has for a loader is no program, so the firmware says that it tried.
  const tried = /BdsDxe: (?:loading|failed to load) .*/
  while (!tried.test(installed.console()) && Date.now() < until) await sleep(200)
  t.match(
    tried.exec(installed.console())?.[0],
    /"Seedling" from HD\(1,GPT,.*\\EFI\\BOOT\\BOOTX64\.EFI/,
    'the firmware tries our boot entry first'
  )
})

t.test('refuses a disk that is not the one that was meant, and touches nothing', async (t) => {
  const folder = t.testdir()
  const size = 64 * MiB
  const disk = `${folder}/disk`
  makeDisk(disk, size)
  const image = makeImage(folder, 24 * MiB, 512)
  const server = await deployServer(image, 'SEED-1', {
    task: (inventory, url) => deployTask(image, { ...target(inventory, 'SEED-1'), serial: 'SEED-OTHER' }, url)
  })
  t.teardown(server.close)
  const machine = startMachine(
    folder,
    // prettier-ignore
    [...bootNic, '-drive', `file=${disk},format=raw,if=none,id=one,cache=writeback`,
      '-device', 'virtio-blk-pci,drive=one,serial=SEED-1'],
    commandLine(server.url)
  )
  t.teardown(machine.kill)
  const failure = await watch(machine, 400, server.heard('POST /agent/failed'))
  t.match(
    failure,
    { code: 'disk-changed', message: /SEED-OTHER/, evidence: /seedling/ },
    'a disk with another serial'
  )
  t.ok(readAt(disk, 0, size).equals(Buffer.alloc(size, 0xaa)), 'the disk is as it was')
})
