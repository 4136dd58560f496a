// What the appliance is made of, as SPDX 2.3 JSON: the Debian packages of the list, those that the deploy ramdisk and the boot loaders come from, and
// the npm packages of the lock file that are not for development or other systems only.
//
//   bill-of-materials.ts PACKAGES package-lock.json package.json RAMDISK-PACKAGES PIN…
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'

type Locked = {
  version?: string
  integrity?: string
  license?: string
  dev?: boolean
  cpu?: string[]
  os?: string[]
}

const [list = '', lockFile = '', packageFile = '', ramdiskList = '', ...pins] = process.argv.slice(2)
const read = (file: string) => readFileSync(file, 'utf8')
const own = JSON.parse(read(packageFile)) as { name: string; version: string; license: string }
const lock = JSON.parse(read(lockFile)) as { packages: Record<string, Locked> }

const id = (kind: string, name: string) => `SPDXRef-${kind}-${name.replace(/[^A-Za-z0-9.-]/g, '-')}`
const reference = (locator: string) => [
  { referenceCategory: 'PACKAGE-MANAGER', referenceType: 'purl', referenceLocator: locator }
]

const lines = (file: string): string[][] =>
  read(file)
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split(' '))
type Package = { name: string; version: string; architecture: string; suite?: string; sha256?: string }
/** `where`: what of the appliance it is in. */
const debianPackage = (
  where: string,
  { name, version, architecture, suite = 'trixie', sha256 }: Package
) => ({
  SPDXID: id(where, `${name}-${architecture}`),
  name,
  versionInfo: version,
  downloadLocation: 'NOASSERTION',
  filesAnalyzed: false,
  licenseDeclared: 'NOASSERTION',
  ...(sha256 ? { checksums: [{ algorithm: 'SHA256', checksumValue: sha256 }] } : {}),
  externalRefs: reference(
    `pkg:deb/debian/${name}@${encodeURIComponent(version)}?arch=${architecture}&distro=${suite}`
  )
})
const debian = [
  ...lines(list).map(([name = '', version = '', architecture = '', sha256 = '']) =>
    debianPackage('deb', { name, version, architecture, sha256 })
  ),
  ...lines(ramdiskList).map(([name = '', version = '', file = '']) =>
    debianPackage('ramdisk', { name, version, architecture: /_([^_]*)\.deb$/.exec(file)?.[1] ?? '' })
  ),
  ...pins.flatMap(lines).map(([name = '', suite = '', version = '', sha256 = '']) =>
    debianPackage('loaders', {
      name,
      version,
      architecture: name.includes('amd64') ? 'amd64' : 'all',
      suite,
      sha256
    })
  )
]
const npm = Object.entries(lock.packages)
  .filter(
    ([path, { dev, cpu, os }]) =>
      path !== '' && dev !== true && (!cpu || cpu.includes('x64')) && (!os || os.includes('linux'))
  )
  .map(([path, { version = '', integrity = '', license }]) => {
    const name = path.replace(/^.*node_modules\//, '')
    return {
      SPDXID: id('npm', path.replace('node_modules/', '')),
      name,
      versionInfo: version,
      downloadLocation: 'NOASSERTION',
      filesAnalyzed: false,
      licenseDeclared: license ?? 'NOASSERTION',
      ...(integrity.startsWith('sha512-')
        ? {
            checksums: [
              {
                algorithm: 'SHA512',
                checksumValue: Buffer.from(integrity.slice('sha512-'.length), 'base64').toString('hex')
              }
            ]
          }
        : {}),
      externalRefs: reference(`pkg:npm/${name.replace('@', '%40')}@${version}`)
    }
  })
const seedling = {
  SPDXID: 'SPDXRef-seedling',
  name: own.name,
  versionInfo: own.version,
  downloadLocation: 'NOASSERTION',
  filesAnalyzed: false,
  licenseDeclared: own.license
}
const packages = [seedling, ...debian, ...npm]
const document = {
  spdxVersion: 'SPDX-2.3',
  dataLicense: 'CC0-1.0',
  SPDXID: 'SPDXRef-DOCUMENT',
  name: `seedling-appliance-${own.version}`,
  documentNamespace: `urn:seedling:appliance:${createHash('sha256').update(JSON.stringify(packages)).digest('hex')}`,
  creationInfo: {
    // The same for the same content.
    created: new Date(Number(process.env['SOURCE_DATE_EPOCH'] ?? 0) * 1000).toISOString().replace('.000', ''),
    creators: ['Tool: seedling-image-appliance-build']
  },
  packages,
  relationships: [
    { spdxElementId: 'SPDXRef-DOCUMENT', relationshipType: 'DESCRIBES', relatedSpdxElement: seedling.SPDXID },
    ...[...debian, ...npm].map(({ SPDXID }) => ({
      spdxElementId: seedling.SPDXID,
      relationshipType: 'DEPENDS_ON',
      relatedSpdxElement: SPDXID
    }))
  ]
}
console.log(JSON.stringify(document, null, 1))
