import t from 'tap'
import { startIpmiSim } from './ipmi-sim.ts'
import { killAndAsk } from './slots.ts'
import { fake } from './started.ts'

t.test('killed every 20 questions, four times: ipmi_sim never runs out of sessions', async (t) => {
  const sim = await startIpmiSim(t, ['true "admin" "secret123" admin 10'])
  await killAndAsk(t, { ...(await fake(t)).access(), port: sim.port }, 80, 20)
})

t.test('a BMC with two sessions, each forgotten after two seconds: waited for, not failed', async (t) => {
  const bmc = await fake(t)
  bmc.faults.sessionLimit = 2
  bmc.faults.sessionLife = 2000
  await killAndAsk(t, bmc.access(), 20, 5)
})
