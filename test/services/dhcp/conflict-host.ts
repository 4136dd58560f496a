// A host that looks who holds addresses, as a process of its own, so that it can run inside a network namespace. Argument: JSON of
// `ConflictHost`. Every line on stdin, an address and the MACs of its machine, is probed; `conflict` is written for each found; a line
// `results N` has it write what is known, under that number.

import { createInterface } from 'node:readline'
import pino from 'pino'
import type { ConflictTimes } from '../../../src/decide/address-conflict.ts'
import { startConflictProbe } from '../../../services/dhcp/conflict-probe.ts'

export type ConflictHost = { link: { interface: string; address: string }; times: ConflictTimes }

const { link, times } = JSON.parse(process.argv[2] ?? '') as ConflictHost
const log = pino({ level: 'debug' }, pino.destination({ fd: 1, sync: true }))
const asked = new Set<string>()
const conflicts = startConflictProbe({
  link,
  log,
  now: Date.now,
  times,
  onConflict: (ip, mac) => log.info({ ip, mac }, 'conflict')
})
createInterface({ input: process.stdin }).on('line', (line) => {
  const [ip = '', ...macs] = line.split(' ')
  if (ip === 'results') {
    const [number] = macs
    const found = [...asked].flatMap((ip) => {
      const conflict = conflicts.conflict(ip)
      return conflict ? [[ip, conflict.mac]] : []
    })
    log.info({ number, found: Object.fromEntries(found), counters: conflicts.counters }, 'results')
    return
  }
  asked.add(ip)
  conflicts.probe(ip, macs)
})
log.info('listening')
process.on('SIGTERM', () => {
  conflicts.close()
  process.stdin.destroy()
})
