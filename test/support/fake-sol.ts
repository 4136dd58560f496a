// Serial over LAN on the BMC's side (IPMI 2.0, section 15), with faults to switch on: a serial port between a console in a
// session and whoever plays the machine.

import { decodeSol, encodeSol, nextSolSequence, SOL_OPERATION, SOL_STATUS } from '../../src/wire/ipmi/sol.ts'

/** Change these at any time; all are off at first. */
export type FakeSolFaults = {
  /** Takes at most so many characters of a packet. */
  accepts: number
  /** The machine is off: every packet with characters is refused, and says so. */
  unavailable: boolean
  /** Is never given a free buffer: refuses without saying why, so many times. */
  nacks: number
  /** A repetition carries what the machine said in the meantime, too. */
  growsRepetitions: boolean
  /** Status bits for the next packet with characters. */
  flagsOnce: number
}

export type FakeSol = {
  faults: FakeSolFaults
  /** The session that holds the payload; null: none. */
  owner: number | null
  /** What the machine was told, breaks as "<break>". */
  typed: string
  /** The machine says something. */
  say(text: string): void
  /** Another console gets the payload, or the BMC ends it: the present one is told. */
  deactivate(): void
  activate(owner: number): void
  /** A payload from the console; answers with payloads for it. */
  receive(payload: Buffer): Buffer[]
  /** The unacknowledged packet again, as after the retry interval. */
  repeat(): Buffer[]
  /** All that the machine said has been acknowledged. */
  idle(): boolean
}

const PACKET_CHARACTERS = 100
/** What it keeps for a console that does not take it; older characters are dropped. */
const BUFFER = 65_536

/** `send` takes payloads that the BMC sends by itself. */
export function fakeSol(send: (payload: Buffer) => void): FakeSol {
  let toConsole = Buffer.alloc(0)
  let outstanding: { sequence: number; characters: Buffer; flags: number } | null = null
  let sequence = 0
  let last = { sequence: 0, accepted: 0 }

  const faults: FakeSolFaults = {
    accepts: 255,
    unavailable: false,
    nacks: 0,
    growsRepetitions: false,
    flagsOnce: 0
  }

  /** The packet that is under way, or a new one if there is something to say. */
  function next(): Buffer[] {
    if (outstanding || sol.owner === null || toConsole.length === 0) return []
    sequence = nextSolSequence(sequence)
    outstanding = { sequence, characters: toConsole.subarray(0, PACKET_CHARACTERS), flags: faults.flagsOnce }
    faults.flagsOnce = 0
    toConsole = toConsole.subarray(PACKET_CHARACTERS)
    return sol.repeat()
  }

  function answer(acked: number, accepted: number, flags: number): Buffer {
    return encodeSol({ sequence: 0, acked, accepted, flags, characters: Buffer.alloc(0) })
  }

  function typed(number: number, characters: Buffer, isBreak: boolean): Buffer {
    // A repetition of what was taken: the acknowledgement was lost.
    if (number === last.sequence) return answer(number, last.accepted, 0)
    if (faults.unavailable) return answer(number, 0, SOL_STATUS.nack | SOL_STATUS.unavailable)
    if (faults.nacks > 0) {
      faults.nacks--
      return answer(number, 0, SOL_STATUS.nack)
    }
    const taken = characters.subarray(0, faults.accepts)
    last = { sequence: number, accepted: taken.length }
    sol.typed += taken.toString('latin1') + (isBreak ? '<break>' : '')
    return answer(number, taken.length, 0)
  }

  const sol: FakeSol = {
    faults,
    owner: null,
    typed: '',
    say(text) {
      toConsole = Buffer.concat([toConsole, Buffer.from(text, 'latin1')]).subarray(-BUFFER)
      for (const payload of next()) send(payload)
    },
    deactivate() {
      if (sol.owner === null) return
      send(answer(0, 0, SOL_STATUS.deactivated))
      sol.owner = null
      outstanding = null
    },
    activate(owner) {
      Object.assign(sol, { owner })
      outstanding = null
      sequence = 0
      last = { sequence: 0, accepted: 0 }
    },
    receive(payload) {
      const packet = decodeSol(payload)
      const answers: Buffer[] = []
      if (outstanding && packet.acked === outstanding.sequence) {
        const rest = outstanding.characters.subarray(packet.accepted)
        toConsole = Buffer.concat([rest, toConsole])
        outstanding = null
      }
      if (packet.sequence !== 0) {
        answers.push(typed(packet.sequence, packet.characters, (packet.flags & SOL_OPERATION.break) !== 0))
      }
      return [...answers, ...next()]
    },
    repeat() {
      if (!outstanding) return []
      if (faults.growsRepetitions) {
        const room = PACKET_CHARACTERS - outstanding.characters.length
        outstanding.characters = Buffer.concat([outstanding.characters, toConsole.subarray(0, room)])
        toConsole = toConsole.subarray(room)
      }
      return [encodeSol({ ...outstanding, acked: 0, accepted: 0 })]
    },
    idle: () => outstanding === null && toConsole.length === 0
  }
  return sol
}
