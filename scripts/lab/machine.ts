// A machine of the rack as its BMC sees it: the chassis (chassis.ts) joined to the process (qemu.ts).
import { answerChassis, bootBegan, bootOrder, newChassis } from './chassis.ts'
import type { ChassisAction } from './chassis.ts'
import { faultyAction, noFaults, type Faults } from './faults.ts'
import { setSwitchPort } from './network.ts'
import type { MachinePlan, RackPlan } from './plan.ts'
import { startQemu } from './qemu.ts'
import type { Qemu } from './qemu.ts'

export type MachineStatus = { name: string; power: 'on' | 'off'; pid?: number; bootFlags: string }

export type Machine = {
  /** Answers one IPMI chassis request; what it asks for is begun, not awaited, as with a real BMC. */
  chassis(request: readonly number[]): number[]
  status(): MachineStatus
  /** What is to go wrong from now on. */
  setFaults(faults: Faults): void
  /** The card on the LAN sees a link or none. @throws Error when the machine is off */
  setLink(up: boolean): Promise<void>
  /** Takes the power away; resolves when the machine is off. */
  close(): Promise<void>
}

/** @param lan the LAN's network namespace, where the machine's tap is */
export function createMachine(
  plan: MachinePlan,
  { lan }: Pick<RackPlan, 'lan'>,
  log: (message: string) => void
): Machine {
  let chassis = newChassis
  let qemu: Qemu | undefined
  let work: Promise<void> = Promise.resolve()
  let faults = noFaults

  const nextBootOrder = () => bootOrder(chassis, plan.firmware, plan.bootOrder, Date.now())

  /** Begins a boot, at power-on and again at each reset. */
  function boot(): void {
    if (faults.lapsedFlags > 0) {
      faults = { ...faults, lapsedFlags: faults.lapsedFlags - 1 }
      chassis = { ...chassis, bootFlags: newChassis.bootFlags }
    }
    const order = nextBootOrder()
    log(`${plan.name}: boots ${order.join(', then ')}`)
    chassis = bootBegan(chassis)
    qemu = startQemu(plan, lan.namespace, order, ({ reset, problem }) => {
      qemu = undefined
      log(`${plan.name}: ${reset ? 'reset' : 'off'}${problem && `: ${problem}`}`)
      if (reset) boot()
    })
  }

  async function powerOn(): Promise<void> {
    if (qemu) return
    if (plan.switchPort !== plan.tap)
      for (const up of [false, true]) setSwitchPort({ lan }, plan.switchPort, up)
    boot()
  }

  const actions: Record<ChassisAction, () => Promise<void> | undefined> = {
    on: powerOn,
    off: () => qemu?.cutPower(),
    cycle: async () => {
      await qemu?.cutPower()
      await powerOn()
    },
    reset: () => qemu?.reset(),
    nmi: () => qemu?.nmi(),
    soft: () => qemu?.pressPower()
  }

  /** One thing at a time, in the order asked. */
  function then(action: () => Promise<void> | undefined): void {
    work = work.then(action).catch((error: Error) => log(`${plan.name}: ${error.message}`))
  }

  function control(action: ChassisAction): void {
    log(`${plan.name}: told ${action}, is ${qemu ? 'on' : 'off'}`)
    const { carriedOut, comesBackMs, faults: left } = faultyAction(faults, action)
    faults = left
    if (carriedOut) then(actions[action])
    if (comesBackMs > 0) setTimeout(() => then(powerOn), comesBackMs).unref()
  }

  return {
    chassis(request) {
      const answer = answerChassis(request, chassis, qemu ? 'on' : 'off', Date.now())
      chassis = answer.chassis
      if (answer.action) control(answer.action)
      return answer.reply
    },
    status: () => ({
      name: plan.name,
      power: qemu ? 'on' : 'off',
      ...(qemu ? { pid: qemu.pid } : {}),
      bootFlags: Buffer.from(chassis.bootFlags).toString('hex')
    }),
    setFaults(next) {
      faults = next
    },
    async setLink(up) {
      if (!qemu) throw new Error('the machine is off')
      await qemu.setLink(up)
    },
    async close() {
      then(actions.off)
      await work
    }
  }
}
