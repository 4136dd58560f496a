// What an exam found out about a BMC, as people read it.

import type { Json } from './client.ts'
import { day, record } from './format.ts'

/** A quirk card as the API gives it, in lines; findings last. */
export function cardLines(card: Json): string {
  const part = (name: string) => card[name] as Json | null
  const yes = (flag: unknown) => (flag === null || flag === undefined ? 'not known' : flag ? 'yes' : 'no')
  const [identity, way, sessions] = [part('identity'), part('way'), part('sessions')]
  const [latency, boot, power] = [part('latency'), part('boot_device'), part('power')]
  const seconds = (value: unknown) => (value === null ? 'not seen' : `${String(value)} s`)
  const lines = record({
    examined: day(card['examined_at'] as string),
    maker:
      identity &&
      `enterprise ${String(identity['manufacturer'])}, product ${String(identity['product'])}, firmware ${String(identity['firmware'])}, IPMI ${String(identity['ipmi_version'])}`,
    'log-in':
      way &&
      `${way['cipher_suite'] === null ? 'IPMI 1.5' : `cipher suite ${String(way['cipher_suite'])}`} as ${String(way['privilege'])}${way['quirk'] ? `, with work-around "${String(way['quirk'])}"` : ''}`,
    'suite 0 opens': yes(card['accepts_suite_zero']),
    'answers pings': yes(card['answers_ping']),
    sessions: sessions && `${String(sessions['opened'])}${sessions['more'] ? ' or more' : ''} at once`,
    latency:
      latency &&
      `${Math.round(latency['median'] as number)} ms, ${Math.round(latency['worst'] as number)} ms at worst`,
    'boot device':
      boot &&
      `read back as set: ${yes(boot['truthful'])}; keeps EFI: ${yes(boot['keeps_efi'])}; can be kept: ${yes(boot['can_be_kept'])}; lapses: ${yes(boot['lapses'])}`,
    power: power && `on after ${seconds(power['on_seconds'])}, off after ${seconds(power['off_seconds'])}`
  })
  const findings = card['findings'] as { kind: string; message: string }[]
  return [lines, ...findings.map(({ kind, message }) => `${kind}: ${message}`)].join('\n')
}
