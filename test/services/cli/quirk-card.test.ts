import t from 'tap'
import { quirkCardView } from '../../../services/api/views.ts'
import { cardLines } from '../../../services/cli/quirk-card.ts'
import { aQuirkCard } from '../../support/builders.ts'

t.test('a card in lines, its findings last', async (t) => {
  const findings = [
    { kind: 'danger' as const, code: 'suite-zero', message: 'It opens sessions under suite 0' }
  ]
  const identity = { manufacturer: 10876, product: 1, firmware: '1.74', ipmiVersion: '2.0', systemGuid: null }
  const power = { onSeconds: 3.5, offSeconds: null }
  const text = cardLines(quirkCardView(aQuirkCard({ identity, power, findings })))
  t.match(text, /^examined +20\d\d-/)
  t.match(text, /maker +enterprise 10876, product 1, firmware 1\.74, IPMI 2\.0/)
  t.match(text, /log-in +cipher suite 17 as administrator$/m)
  t.match(text, /sessions +4 or more at once/)
  t.match(text, /boot device +read back as set: yes; keeps EFI: yes; can be kept: yes; lapses: not known/)
  t.match(text, /power +on after 3\.5 s, off after not seen/)
  t.match(text, /\ndanger: It opens sessions under suite 0$/)
})

t.test('what is not known is a dash', async (t) => {
  const nothing = { way: null, sessions: null, latency: null, bootDevice: null, acceptsSuiteZero: null }
  const text = cardLines(quirkCardView(aQuirkCard(nothing)))
  for (const name of ['maker', 'log-in', 'sessions', 'latency', 'boot device', 'power'])
    t.match(text, new RegExp(`^${name} +-$`, 'm'))
  t.match(text, /suite 0 opens +not known/)
})
