// Reads tap's TAP stream on stdin and tells people how it goes: a line for each finished file, every failure in full,
// and as the very last line the count of all assertions, "N passed, N failed, N skipped". The stream is kept in a log.
// Usage: tap --reporter=tap … | tap-report.ts LOG PASSED FAILED; the numbers are checks done before, added to the count.
// Exit code 1 when anything failed or the stream ends early.
import { createWriteStream } from 'node:fs'
import { createInterface } from 'node:readline'

const quietMs = 15_000
const [log = '', passedBefore = '0', failedBefore = '0'] = process.argv.slice(2)
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
let totals: Record<string, number> | undefined
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
  else if (counts) totals = Object.fromEntries(counts[1]!.split(', ').map(parseCount))
  else if (/^Bail out!/.test(line)) {
    bailOut = true
    say(line)
  } else if (failing && line.trim() !== '...') say(line)
  // What follows a failed point up to "..." tells why.
  failing = /^ *not ok /.test(line) || (failing && line.trim() !== '...')
}
clearInterval(heartbeat)
await new Promise((resolve) => raw.end(resolve))

const { pass = 0, fail = 0, skip = 0, todo = 0 } = totals ?? {}
// A stream without totals is a test run that did not come to its end.
const failed = fail + Number(failedBefore) + (totals && !bailOut ? 0 : 1)
console.log(`${files} files in ${seconds()}; the full stream is in ${log}`)
console.log(`${pass + Number(passedBefore)} passed, ${failed} failed, ${skip + todo} skipped`)
process.exitCode = failed > 0 ? 1 : 0

function parseCount(pair: string): [string, number] {
  const [name = '', value] = pair.split(': ')
  return [name, Number(value)]
}
