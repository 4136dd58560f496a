// Reads tap's TAP stream on stdin and tells people how it goes: a line for each finished file, every failure in full,
// and as the very last line the count of all assertions, "N passed, N failed, N skipped". The stream is kept in a log.
// Usage: { tap --reporter=tap …; … } | tap-report.ts LOG RUNS PASSED FAILED. RUNS is how many runs of tap the stream holds, one after
// the other; PASSED and FAILED are checks done before, added to the count. Exit code 1 when anything failed or a run ended early.
import { createWriteStream } from 'node:fs'
import { createInterface } from 'node:readline'

const quietMs = 15_000
const [log = '', runs = '1', passedBefore = '0', failedBefore = '0'] = process.argv.slice(2)
const raw = createWriteStream(log)
const began = Date.now()
const seconds = () => `${Math.round((Date.now() - began) / 1000)} s`

const heartbeat = setInterval(() => console.log(`     … ${seconds()}`), quietMs)
const say = (line: string) => {
  console.log(line)
  heartbeat.refresh()
}

let failing = false
let files = 0
const totals: Record<string, number>[] = []
let bailOut = false

for await (const line of createInterface({ input: process.stdin })) {
  raw.write(`${line}\n`)
  const file = /^(ok|not ok) \d+ - (\S+)(?: # time=([\d.]+)ms)?/.exec(line)
  const counts = /^# \{ (total: .*) \}$/.exec(line)
  if (file) {
    files++
    const [, verdict, name, time = '0'] = file
    say(`${verdict === 'ok' ? 'ok  ' : 'FAIL'} ${name} (${(Number(time) / 1000).toFixed(1)} s)`)
  } else if (/^ +not ok /.test(line)) say(line)
  else if (counts) totals.push(Object.fromEntries(counts[1]!.split(', ').map(parseCount)))
  else if (/^Bail out!/.test(line)) {
    bailOut = true
    say(line)
  } else if (failing && line.trim() !== '...') say(line)
  // What follows a failed point up to "..." tells why.
  failing = /^ *not ok /.test(line) || (failing && line.trim() !== '...')
}
clearInterval(heartbeat)
await new Promise((resolve) => raw.end(resolve))

const sum = (name: string) => totals.reduce((total, counts) => total + (counts[name] ?? 0), 0)
// A run without totals is one that did not come to its end.
const broken = bailOut || totals.length < Number(runs) ? 1 : 0
const failed = sum('fail') + Number(failedBefore) + broken
console.log(`${files} files in ${seconds()}; the full stream is in ${log}`)
console.log(
  `${sum('pass') + Number(passedBefore)} passed, ${failed} failed, ${sum('skip') + sum('todo')} skipped`
)
process.exitCode = failed > 0 ? 1 : 0

function parseCount(pair: string): [string, number] {
  const [name = '', value] = pair.split(': ')
  return [name, Number(value)]
}
