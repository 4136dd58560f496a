import t from 'tap'
import type { BootFacts, BootSettings } from '../../src/decide/boot-file.ts'
import { decideTftp, loaderName, mayAnswer, pathMtu } from '../../src/decide/tftp.ts'
import type { TftpRequest } from '../../src/wire/tftp.ts'
import { aLease, aNode, anImage, anOrder, aPort, NOW } from '../support/builders.ts'

const SETTINGS: BootSettings = {
  url: 'http://192.0.2.1',
  ramdisks: { x86_64: { kernel: '1'.repeat(64), ramdisk: '2'.repeat(64) } },
  console: [],
  kernelArguments: []
}
const LOADERS = new Set(['snponly.efi', 'undionly.kpxe'])
const OPEN: BootFacts = {
  port: aPort(),
  node: aNode(),
  order: anOrder({ ticks: { 'powered-off': NOW } }),
  image: anImage()
}
const STRANGER: BootFacts = { port: null, node: null, order: null, image: null }
const ACTIVE: BootFacts = { ...OPEN, node: aNode({ state: 'active' }), order: null }

const read = (file: string, more: Partial<TftpRequest> = {}): TftpRequest => ({
  op: 'read',
  file,
  mode: 'octet',
  options: new Map(),
  ...more
})

const CASES: Record<string, { request: TftpRequest; facts?: BootFacts; answer: object }> = {
  'a loader by its name': { request: read('snponly.efi'), answer: { serve: 'loader', name: 'snponly.efi' } },
  'an absolute path': {
    request: read('/boot/snponly.efi'),
    answer: { serve: 'loader', name: 'snponly.efi' }
  },
  'back-slashes and capitals': {
    request: read('\\BOOT\\SNPONLY.EFI'),
    answer: { serve: 'loader', name: 'snponly.efi' }
  },
  'text mode': {
    request: read('undionly.kpxe', { mode: 'netascii' }),
    answer: { serve: 'loader', name: 'undionly.kpxe' }
  },
  'iPXE asking for its script': {
    request: read('autoexec.ipxe'),
    answer: { serve: 'text', text: /^#!ipxe\n/ }
  },
  'a file that is not there': {
    request: read('grubx64.efi'),
    answer: { serve: 'nothing', refusal: 'unknown-file', code: 1 }
  },
  'a climb out of the folder': {
    request: read('../../../../etc/passwd'),
    answer: { serve: 'nothing', refusal: 'unknown-file', code: 1 }
  },
  'a folder': { request: read('/'), answer: { serve: 'nothing', refusal: 'unknown-file', code: 1 } },
  'an unknown mode': {
    request: read('snponly.efi', { mode: 'mail' }),
    answer: { serve: 'nothing', code: 4 }
  },
  'a write': {
    request: read('snponly.efi', { op: 'write' }),
    answer: { serve: 'nothing', refusal: 'write', code: 2 }
  },
  'a stranger asks for a loader': {
    request: read('snponly.efi'),
    facts: STRANGER,
    answer: { serve: 'nothing', refusal: 'stranger', code: 2, changes: [] }
  },
  'a stranger asks for what is not there: the same answer': {
    request: read('nothing.efi'),
    facts: STRANGER,
    answer: { serve: 'nothing', refusal: 'stranger', code: 2, changes: [] }
  },
  'a stranger asks for a script': {
    request: read('autoexec.ipxe'),
    facts: STRANGER,
    answer: { serve: 'nothing', refusal: 'stranger', code: 2, changes: [] }
  },
  'what shim does without: no news': {
    request: read('revocations.efi'),
    answer: { serve: 'nothing', refusal: 'unknown-file', code: 1, changes: [] }
  },
  'GRUB’s configuration': {
    request: read('grub/grub.cfg-01-52-54-00-00-00-01'),
    answer: { serve: 'text', text: /^for turn in [^]*linux '\(http,192\.0\.2\.1\)\/boot\/kernel\// }
  },
  'GRUB’s configuration of another machine': {
    request: read('grub/grub.cfg-01-52-54-00-00-00-02'),
    answer: { serve: 'nothing', refusal: 'stranger', code: 2 }
  },
  'PXELINUX’s configuration is not there, and that is told': {
    request: read('pxelinux.cfg/default'),
    answer: {
      serve: 'nothing',
      refusal: 'unknown-file',
      code: 1,
      changes: [{ event: { kind: 'file-refused' } }]
    }
  },
  'a name with the end of the DHCP options at its end': {
    request: read('undionly.kpxe\xff'),
    answer: { serve: 'loader', name: 'undionly.kpxe' }
  },
  'an active machine gets no loader': {
    request: read('snponly.efi'),
    facts: ACTIVE,
    answer: { serve: 'nothing', refusal: 'not-now', code: 2 }
  },
  'an active machine is sent to its disk': {
    request: read('autoexec.ipxe'),
    facts: ACTIVE,
    answer: { serve: 'text', text: /\nexit 1\n$/ }
  }
}

t.test('who gets what', async (t) => {
  for (const [name, { request, facts = OPEN, answer }] of Object.entries(CASES))
    t.match(decideTftp(request, facts, LOADERS, SETTINGS, NOW), answer, name)
})

t.test('a refusal is one line a minute, however many names are asked for', async (t) => {
  const event = (file: string) => decideTftp(read(file), OPEN, LOADERS, SETTINGS, NOW).changes[0]
  const [first, second] = [event('a'), event('\x1b[2J' + 'b'.repeat(500))]
  t.match(first, { event: { kind: 'file-refused', subject: 'tftp:unknown-file', detail: { name: 'a' } } })
  t.match(second, { event: { subject: 'tftp:unknown-file', detail: { name: /^\?\[2Jb+…$/ } } })
})

t.test('names', async (t) => {
  t.equal(loaderName('a\\b/C.EFI'), 'c.efi')
  t.equal(loaderName('c.efi'), 'c.efi')
  t.equal(loaderName('a/'), '')
})

t.test('who may be answered at all', async (t) => {
  const ip = '192.0.2.100'
  t.equal(mayAnswer(ip, aPort(), aLease()), true)
  t.equal(mayAnswer(ip, aPort(), aLease({ expiresAt: 1 })), true, 'a ROM does not renew its lease')
  t.equal(mayAnswer(ip, null, aLease()), false, 'not enrolled')
  t.equal(mayAnswer(ip, aPort(), null), false, 'no lease: somebody else may sit there')
  t.equal(mayAnswer(ip, aPort(), aLease({ state: 'declined' })), false)
  t.equal(mayAnswer(ip, aPort(), aLease({ state: 'released' })), false)
  t.equal(mayAnswer(ip, aPort(), aLease({ mac: '52:54:00:00:00:02' })), false, 'another’s lease')
})

t.test('the MTU on the way', async (t) => {
  const subnets = [
    { cidr: '192.0.2.0/24', mtu: 1400 },
    { cidr: '198.51.100.0/24', mtu: null }
  ]
  t.equal(pathMtu('192.0.2.7', subnets), 1400)
  t.equal(pathMtu('198.51.100.7', subnets), 1500)
  t.equal(pathMtu('203.0.113.7', subnets), 1500)
})
