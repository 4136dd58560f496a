import t from 'tap'
import { machineUrl, type BootFacts, type BootSettings } from '../../src/decide/boot-file.ts'
import { decideScript } from '../../src/decide/script.ts'
import { aNode, anImage, anOrder, aPort, NOW } from '../support/builders.ts'

const SETTINGS: BootSettings = {
  url: 'http://192.0.2.1',
  ramdisks: { x86_64: { kernel: '1'.repeat(64), ramdisk: '2'.repeat(64) } },
  console: ['tty0', 'ttyS0,115200n8'],
  kernelArguments: ['panic=30']
}
const facts = (given: Partial<BootFacts> = {}): BootFacts => ({
  port: aPort(),
  node: aNode(),
  order: anOrder({ ticks: { 'powered-off': NOW } }),
  image: anImage(),
  ...given
})
const MAC = '52:54:00:00:00:01'

t.test('in its window a machine gets kernel, ramdisk and its token, with retries', async (t) => {
  const verdict = decideScript('ipxe', MAC, facts(), SETTINGS, NOW)
  if (!('script' in verdict)) return t.fail('refused')
  t.equal(
    verdict.script,
    `#!ipxe
set t1:int32 0
:t1
kernel --name vmlinuz http://192.0.2.1/boot/kernel/${'1'.repeat(64)} initrd=ramdisk.img BOOTIF=01-52-54-00-00-00-01 seedling.url=http://192.0.2.1 seedling.token=${'a'.repeat(64)} console=tty0 console=ttyS0,115200n8 panic=30 || goto t1failed
initrd --name ramdisk.img http://192.0.2.1/boot/ramdisk/${'2'.repeat(64)} || goto t1failed
boot || goto t1failed
:t1failed
imgfree
inc t1
iseq \${t1} 20 && goto t1over ||
sleep 6
goto t1
:t1over
echo Seedling: giving up: the next boot device follows
exit 1
`
  )
  t.match(verdict.changes, [
    {
      event: { kind: 'script-served', subject: 'ramdisk', orderId: anOrder().id, detail: { plan: 'ramdisk' } }
    }
  ])
})

t.test('a machine gets the ramdisk of its architecture, and none when there is none', async (t) => {
  const arm: BootSettings = {
    ...SETTINGS,
    ramdisks: { ...SETTINGS.ramdisks, aarch64: { kernel: '3'.repeat(64), ramdisk: '4'.repeat(64) } }
  }
  const script = (settings: BootSettings, cpu_arch?: string) => {
    const properties = cpu_arch === undefined ? {} : { cpu_arch }
    const verdict = decideScript('ipxe', MAC, facts({ node: aNode({ properties }) }), settings, NOW)
    return 'script' in verdict ? verdict.script : ''
  }
  const kernel = (text: string) => /boot\/kernel\/(.)/.exec(text)?.[1] ?? null
  t.equal(kernel(script(arm)), '1')
  for (const name of ['x86_64', 'amd64']) t.equal(kernel(script(arm, name)), '1', name)
  for (const name of ['aarch64', 'arm64']) t.equal(kernel(script(arm, name)), '3', name)
  t.match(script(SETTINGS, 'aarch64'), /no deploy ramdisk for aarch64.*\nexit 1/)
  t.match(script(arm, 'ppc64le'), /no deploy ramdisk for ppc64le.*\nexit 1/)
  t.match(script(arm, 'x;\nshell'), /no deploy ramdisk for x\?\?shell.*\nexit 1/)
})

t.test('GRUB gets the same in its own words', async (t) => {
  const verdict = decideScript('grub', undefined, facts(), SETTINGS, NOW)
  if (!('script' in verdict)) return t.fail('refused')
  const lines = verdict.script.split('\n')
  t.same(lines.slice(0, 4), [
    `for turn in ${Array.from({ length: 20 }, (_, turn) => turn + 1).join(' ')}; do`,
    `if linux '(http,192.0.2.1)/boot/kernel/${'1'.repeat(64)}' 'BOOTIF=01-52-54-00-00-00-01' 'seedling.url=http://192.0.2.1' 'seedling.token=${'a'.repeat(64)}' 'console=tty0' 'console=ttyS0,115200n8' 'panic=30'; then`,
    `if initrd '(http,192.0.2.1)/boot/ramdisk/${'2'.repeat(64)}'; then`,
    'boot'
  ])
  t.equal(lines.at(-2), 'exit 1')
  t.match(verdict.changes, [{ event: { kind: 'script-served', detail: { plan: 'ramdisk' } } }])
})

t.test('a script shows that the loader that was fetched works', async (t) => {
  const fetched = { loader: 'shimx64.efi', at: NOW }
  const loaderTrial = { fetched, worked: null, silent: [], refused: false }
  const order = anOrder({ ticks: { 'powered-off': NOW }, loaderTrial })
  for (const dialect of ['ipxe', 'grub'] as const)
    t.match(decideScript(dialect, undefined, facts({ order }), SETTINGS, NOW).changes, [
      { event: { kind: 'script-served' } },
      { put: 'order', row: { loaderTrial: { fetched: null, worked: 'shimx64.efi' } } }
    ])
  const elsewhere = decideScript('grub', undefined, facts({ order: { ...order, ticks: {} } }), SETTINGS, NOW)
  t.equal(elsewhere.changes.length, 1, 'whoever is sent elsewhere has shown nothing')
})

const ELSEWHERE: Record<string, { given: Partial<BootFacts>; plan: string }> = {
  'an active machine': { given: { node: aNode({ state: 'active' }), order: null }, plan: 'local-disk' },
  'after the image was written': {
    given: {
      order: anOrder({ ticks: { 'powered-off': 1, 'powered-on': 2, 'agent-seen': 3, 'image-written': 4 } })
    },
    plan: 'local-disk'
  },
  'before the power-off was read back': { given: { order: anOrder() }, plan: 'nothing' },
  'without an order': { given: { order: null }, plan: 'nothing' },
  'in maintenance': { given: { node: aNode({ maintenance: true }) }, plan: 'nothing' },
  'a port that must not boot': { given: { port: aPort({ pxeEnabled: false }) }, plan: 'nothing' }
}

t.test('everybody else enrolled is sent on, and no token leaves', async (t) => {
  for (const [name, { given, plan }] of Object.entries(ELSEWHERE)) {
    const verdict = decideScript('ipxe', MAC, facts(given), SETTINGS, NOW)
    if (!('script' in verdict)) return t.fail(name)
    t.match(verdict.script, /^#!ipxe\necho .*\nexit 1\n$/, name)
    const inGrub = decideScript('grub', undefined, facts(given), SETTINGS, NOW)
    if (!('script' in inGrub)) return t.fail(name)
    t.match(inGrub.script, /^echo '[^]*chainloader "\$path"[^]*\nexit 1\n$/, name)
    t.notMatch(inGrub.script, /^(if )?linux |token/m, name)
    t.match(verdict.changes, [{ event: { kind: 'script-served', detail: { plan } } }], name)
  }
})

t.test('a stranger, and whoever asks for another machine, get nothing', async (t) => {
  const stranger = { port: null, node: null, order: null, image: null }
  t.match(decideScript('ipxe', MAC, stranger, SETTINGS, NOW), { refuse: 'stranger', changes: [] })
  for (const mac of ['52:54:00:00:00:02', null])
    t.match(decideScript('ipxe', mac, facts(), SETTINGS, NOW), { refuse: 'wrong-mac', changes: [] })
  t.ok('script' in decideScript('ipxe', undefined, facts(), SETTINGS, NOW), 'TFTP has no place for a MAC')
})

t.test('hostile configuration never reaches a script', async (t) => {
  for (const value of ['a b', 'x\nshell', '${net0/mac}', 'x;shell', 'x||y', 'x&&y'])
    t.throws(() => decideScript('ipxe', MAC, facts(), { ...SETTINGS, kernelArguments: [value] }, NOW), {
      code: 'ipxe-value'
    })
})

t.test('our URL', async (t) => {
  t.equal(machineUrl('192.0.2.1', 80), 'http://192.0.2.1')
  t.equal(machineUrl('192.0.2.1', 8080), 'http://192.0.2.1:8080')
})
