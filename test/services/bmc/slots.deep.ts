import t from 'tap'
import { startIpmiSim } from './ipmi-sim.ts'
import { killAndAsk } from './slots.ts'
import { fake } from './started.ts'

t.setTimeout(1_800_000)
t.test('a thousand questions, killed every 20: ipmi_sim never runs out of sessions', async (t) => {
  const sim = await startIpmiSim(t, ['true "admin" "secret123" admin 10'])
  await killAndAsk(t, { ...(await fake(t)).access(), port: sim.port }, 1000, 20)
})
