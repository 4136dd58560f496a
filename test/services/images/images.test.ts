import t from 'tap'
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { zstdDecompressSync } from 'node:zlib'
import { decodeManifest, sha256Hex } from '../../../src/wire/manifest.ts'
import type { ImageProgress } from '../../../services/images/images.ts'
import { aNode, anInstance } from '../../support/builders.ts'
import { gptHead, MIB, noise, qemuImg, writeDisk } from './disks.ts'
import { begin, files } from './store.ts'

const samples = t.testdir()
const raw = join(samples, 'disk.raw')
const { size } = writeDisk(raw)
const sha256 = createHash('sha256').update(readFileSync(raw)).digest('hex')
const other = join(samples, 'other.raw')
writeDisk(other, 5)

/** The disk, put together again from manifest and chunks as the ramdisk does it. */
function served(dataDir: string, digest: string): Buffer {
  const manifest = readFileSync(join(dataDir, 'images/manifests', digest), 'utf8')
  return Buffer.concat(
    decodeManifest(manifest).map((chunk) =>
      chunk.sha256 === null
        ? Buffer.alloc(chunk.length)
        : zstdDecompressSync(
            readFileSync(join(dataDir, 'images/chunks', chunk.sha256.slice(0, 2), chunk.sha256))
          )
    )
  )
}

t.test('a raw disk: chunks, manifest, row and event say the same', async (t) => {
  const dataDir = t.testdir()
  const at = begin(dataDir)
  const progress: ImageProgress[] = []
  const image = await at.add('web', raw, { onProgress: (line: ImageProgress) => progress.push(line) })

  const manifest = readFileSync(join(dataDir, 'images/manifests', image.digest), 'utf8')
  t.equal(sha256Hex(manifest), image.digest, 'the digest is the sha256 of the manifest')
  const chunks = decodeManifest(manifest)
  t.same(
    chunks.map(({ length, sha256 }) => [length, sha256 === null]),
    [
      [8 * MIB, false],
      [8 * MIB, true],
      [8 * MIB, false],
      [8 * MIB, false],
      [8 * MIB, false],
      [MIB + 1536, false]
    ],
    'zeros are recorded and not stored'
  )
  t.equal(chunks[2]?.sha256, chunks[4]?.sha256)
  const stored = files(dataDir, 'chunks')
  t.equal(stored.length, 4, 'equal chunks are stored once')
  t.ok(served(dataDir, image.digest).equals(readFileSync(raw)), 'the chunks are the disk')
  t.match(image, { name: 'web', size, sha256, format: 'raw', chunkSize: 8 * MIB })
  t.equal(
    image.storedSize,
    stored.reduce((sum, file) => sum + statSync(join(dataDir, 'images/chunks', file)).size, 0)
  )
  t.same(at.facts.imageByName('web'), image)
  t.match(at.facts.events(0, 10), [
    { kind: 'image-added', subject: image.id, detail: { name: 'web', size, digest: image.digest } }
  ])
  t.same(progress.at(-1), { stage: 'storing', done: size, total: size })
  t.same(readdirSync(join(dataDir, 'images/upload')), [])
  await at.end()
})

t.test('qcow2 of every kind gives the same disk', async (t) => {
  const at = begin(t.testdir())
  const { digest } = await at.add('raw', raw)
  const kinds: Record<string, string[]> = {
    v3: [],
    v2: ['-o', 'compat=0.10'],
    zlib: ['-c'],
    zstd: ['-c', '-o', 'compression_type=zstd'],
    'extended-l2': ['-o', 'extended_l2=on,cluster_size=128k'],
    'small-clusters': ['-o', 'cluster_size=512']
  }
  // The last sector of the disk is not at the end of a cluster in any of them.
  for (const [name, options] of Object.entries(kinds)) {
    const file = join(samples, `${name}.qcow2`)
    qemuImg('convert', '-f', 'raw', '-O', 'qcow2', ...options, raw, file)
    const image = await at.add(name, file, { format: 'qcow2' })
    t.match(image, { digest, sha256, size, format: 'qcow2' }, name)
  }
  await at.end()
})

t.test('images that would read the host are refused, and nothing of the host is copied', async (t) => {
  const dataDir = t.testdir()
  const folder = t.testdir({ hostile: {} })
  const at = begin(dataDir)
  const canary = join(folder, 'canary')
  const mark = createHash('sha256').update(`canary ${Math.random()}`).digest()
  writeFileSync(canary, Buffer.concat([gptHead(MIB), Buffer.from(mark), Buffer.alloc(MIB)]).subarray(0, MIB))
  const hostile = (name: string) => join(folder, name)

  qemuImg('create', '-f', 'qcow2', '-F', 'raw', '-b', canary, hostile('backing'), '1M')
  qemuImg('create', '-f', 'qcow2', '-o', `data_file=${canary}.d,data_file_raw=on`, hostile('data-file'), '1M')
  // The feature bit taken out: only the extension still names the file.
  writeFileSync(hostile('data-file-extension'), readFileSync(hostile('data-file')).fill(0, 72, 80))
  writeFileSync(hostile('probes.raw'), readFileSync(hostile('backing')))
  const descriptor = `# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 2048 FLAT "${canary}" 0\n`
  writeFileSync(hostile('extent.vmdk'), descriptor)
  qemuImg('create', '-f', 'qcow2', hostile('100-tib'), '100T')
  const cases: [name: string, format: string | undefined, message: RegExp][] = [
    ['backing', 'qcow2', /backing file/],
    ['data-file', 'qcow2', /another file/],
    ['data-file-extension', 'qcow2', /external data file/],
    ['probes.raw', 'raw', /declared raw but is a qcow2 image/],
    ['probes.raw', undefined, /backing file/],
    ['extent.vmdk', 'raw', /VMDK/],
    ['extent.vmdk', undefined, /VMDK/],
    ['100-tib', 'qcow2', /at most/]
  ]
  for (const [name, format, message] of cases) {
    await t.rejects(at.add('hostile', hostile(name), { format }), { code: 'image-refused', message }, name)
    for (const file of files(dataDir))
      t.notOk(readFileSync(join(dataDir, 'images', file)).includes(mark), `${name}: ${file}`)
    t.same(files(dataDir), [])
  }
  t.same(at.facts.images(), [])
  await at.end()
})

t.test('a small file that unfolds into a large disk is refused before it does', async (t) => {
  const dataDir = t.testdir()
  const file = join(t.testdir({ bomb: {} }), 'bomb.qcow2')
  const full = join(samples, 'full.raw')
  const disk = noise(2 * MIB, 3)
  gptHead(32 * 1024 * MIB).copy(disk)
  writeFileSync(full, disk)
  qemuImg('convert', '-f', 'raw', '-O', 'qcow2', full, file)
  // 32 GiB in which every L1 entry names the one L2 table, and all of its entries the one data cluster.
  const bytes = readFileSync(file)
  const l1 = Number(bytes.readBigUInt64BE(40))
  const l2 = Number(bytes.readBigUInt64BE(l1) & 0x00fffffffffffe00n)
  const data = bytes.readBigUInt64BE(l2)
  bytes.writeBigUInt64BE(BigInt(32 * 1024 * MIB), 24)
  bytes.writeUInt32BE(64, 36)
  for (let index = 0; index < 64; index++) bytes.writeBigUInt64BE(bytes.readBigUInt64BE(l1), l1 + index * 8)
  for (let index = 0; index < 8192; index++) bytes.writeBigUInt64BE(data, l2 + index * 8)
  writeFileSync(file, bytes)
  const at = begin(dataDir)
  await t.rejects(at.add('bomb', file), { code: 'image-refused', message: /unfold/ })
  t.same(files(dataDir), [])
  await at.end()
})

t.test('a qcow2 file whose disk is no whole disk is refused after conversion', async (t) => {
  const dataDir = t.testdir()
  const at = begin(dataDir)
  const file = join(samples, 'nested.qcow2')
  qemuImg('convert', '-f', 'raw', '-O', 'qcow2', join(samples, 'v3.qcow2'), file)
  await t.rejects(at.add('nested', file), { code: 'image-refused', message: /no partition table/ })
  const broken = join(samples, 'broken.qcow2')
  const bytes = readFileSync(join(samples, 'zlib.qcow2'))
  const l2 = Number(bytes.readBigUInt64BE(Number(bytes.readBigUInt64BE(40))) & 0x00fffffffffffe00n)
  // The first compressed cluster (bit 62; its place in bits 0 to 53) becomes something that does not unfold.
  for (let at = l2; at < l2 + 65536; at += 8) {
    const entry = bytes.readBigUInt64BE(at)
    if ((entry & (1n << 62n)) === 0n) continue
    const place = Number(entry & ((1n << 54n) - 1n))
    bytes.fill(0xff, place, place + 64)
    break
  }
  writeFileSync(broken, bytes)
  await t.rejects(at.add('broken', broken), {
    code: 'image-refused',
    message: /qemu-img could not convert it/
  })
  t.same(files(dataDir), [])
  await at.end()
})

t.test('an upload that breaks off leaves nothing', async (t) => {
  const dataDir = t.testdir()
  const at = begin(dataDir)
  const bytes = readFileSync(raw)
  for (const share of [0.01, 0.5, 0.99]) {
    function* part(): Generator<Buffer> {
      for (let at = 0; at < bytes.length * share; at += MIB) yield bytes.subarray(at, at + MIB)
      throw new Error('connection reset')
    }
    await t.rejects(at.images.add('web', Readable.from(part(), { objectMode: false })), {
      code: 'bad-request',
      message: /broke off \(connection reset\); send it again/
    })
    t.same(files(dataDir), [], `after ${share * 100} %`)
  }
  await t.rejects(at.add('web', raw, { size: size + 1 }), { code: 'bad-request', message: /broke off/ })
  await t.rejects(at.add('web', raw, { sha256: 'a'.repeat(64) }), {
    code: 'image-refused',
    message: new RegExp(`its sha256 is ${sha256}`)
  })
  await t.rejects(at.add('web', raw, { sha256: 'a'.repeat(32) }), { code: 'bad-request' })
  t.same(files(dataDir), [])
  t.same(at.facts.images(), [])
  t.match(await at.add('web', raw, { size, sha256: sha256.toUpperCase() }), { sha256 })
  await at.end()
})

t.test('limits are kept while the bytes come', async (t) => {
  const dataDir = t.testdir()
  const at = begin(dataDir, { maxUploadBytes: 8 * MIB, maxDiskBytes: 16 * MIB })
  await t.rejects(at.add('web', raw), { code: 'too-large', message: /at most 8388608/ })
  await t.rejects(at.add('web', raw, { size }), { code: 'too-large' })
  t.same(files(dataDir), [])
  await at.end()
  const small = begin(dataDir, { maxDiskBytes: 16 * MIB })
  await t.rejects(small.add('web', raw), { code: 'too-large' })
  await t.rejects(small.add('web', join(samples, 'v3.qcow2')), {
    code: 'image-refused',
    message: /at most 16777216/
  })
  t.same(files(dataDir), [])
  await small.end()
})

t.test('the same name twice, one after the other and at once', async (t) => {
  const dataDir = t.testdir()
  const at = begin(dataDir)
  const [first, second] = await Promise.all([at.add('web', raw), at.add('web', join(samples, 'v3.qcow2'))])
  t.same(second, first, 'the same content is the same image, whatever its format was')
  t.equal(at.facts.events(0, 10).length, 1)
  const before = files(dataDir)
  await t.rejects(at.add('web', other), { code: 'name-taken', message: /choose another name/ })
  t.same(files(dataDir), before, 'nothing of the refused one is kept')
  t.equal((await at.add('web-2', raw)).digest, first.digest)
  t.same(files(dataDir), before, 'one content under two names is stored once')
  await at.end()
})

t.test('removing: not while in use; then only the chunks nobody else has go', async (t) => {
  const dataDir = t.testdir()
  const at = begin(dataDir)
  const one = await at.add('one', raw)
  const onlyOne = files(dataDir)
  const two = await at.add('two', other)
  const instance = anInstance({ imageId: two.id })
  const node = aNode({ uuid: instance.nodeUuid, name: 'ctl-7', instanceUuid: instance.uuid })
  at.commit([
    { put: 'node', row: node },
    { put: 'instance', row: instance }
  ])
  await t.rejects(at.images.remove('two'), { code: 'image-in-use', message: /ctl-7/ })
  at.commit([{ remove: 'instance', uuid: instance.uuid }])
  await at.images.remove('two')
  t.same(files(dataDir), onlyOne)
  t.same(await at.images.verify('one'), { chunks: 5, manifest: 'whole', faults: [] })
  await at.images.remove(one.id)
  t.same(files(dataDir), [])
  await t.rejects(at.images.remove('one'), { code: 'not-found' })
  t.same(
    at.facts.events(0, 10).map(({ kind }) => kind),
    ['image-added', 'image-added', 'image-removed', 'image-removed']
  )
  await at.end()
})

t.test('rot is found by its chunk, and adding the image again repairs it', async (t) => {
  const dataDir = t.testdir()
  const at = begin(dataDir)
  const { digest } = await at.add('web', raw)
  const chunks = decodeManifest(readFileSync(join(dataDir, 'images/manifests', digest), 'utf8'))
  const chunkFile = (index: number) => {
    const hash = chunks[index]?.sha256 as string
    return { hash, path: join(dataDir, 'images/chunks', hash.slice(0, 2), hash) }
  }
  const flipped = chunkFile(0)
  const bytes = readFileSync(flipped.path)
  bytes.writeUInt8(bytes.readUInt8(MIB / 2) ^ 1, MIB / 2)
  writeFileSync(flipped.path, bytes)
  const missing = chunkFile(3)
  rmSync(missing.path)
  const short = chunkFile(5)
  writeFileSync(short.path, readFileSync(short.path).subarray(0, 20))
  t.same((await at.images.verify('web')).faults, [
    { offset: 0, sha256: flipped.hash, fault: 'corrupt' },
    { offset: 24 * MIB, sha256: missing.hash, fault: 'missing' },
    { offset: 40 * MIB, sha256: short.hash, fault: 'corrupt' }
  ])
  await at.add('web', raw)
  t.same(await at.images.verify('web'), { chunks: 5, manifest: 'whole', faults: [] })

  const manifest = join(dataDir, 'images/manifests', digest)
  writeFileSync(manifest, readFileSync(manifest, 'utf8').replace(flipped.hash, missing.hash))
  t.same(await at.images.verify('web'), { chunks: 0, manifest: 'corrupt', faults: [] })
  const before = files(dataDir)
  await at.end()
  const again = begin(dataDir)
  await t.rejects(again.add('no', join(samples, 'nested.qcow2')), { code: 'image-refused' })
  t.same(files(dataDir), before, 'without the manifest nobody knows which chunks are needed, so none goes')
  await again.add('web', raw)
  t.match(await again.images.verify('web'), { manifest: 'whole', faults: [] })
  await again.end()
})

t.test('stopping breaks an import off, and nothing of it is left', async (t) => {
  const dataDir = t.testdir()
  const at = begin(dataDir)
  const endless = new Readable({ read() {} })
  endless.push(readFileSync(raw).subarray(0, MIB))
  const stopped = { code: 'busy', message: /stopping/ }
  await Promise.all([
    t.rejects(at.images.add('slow', endless), stopped),
    t.rejects(at.add('web', raw, { onProgress: () => void at.images.close() }), stopped)
  ])
  t.same(files(dataDir), [])
  await at.end()
})
