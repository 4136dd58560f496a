// Clear SEL (IPMI 2.0, section 31.9). Clearing takes time: it is begun, then asked after until it is done.

import { WireError } from '../../wire-error.ts'
import { requireLength } from '../length.ts'
import { NETFN, type Command } from './command.ts'

const WORD = 'CLR'
const BEGIN = 0xaa
const STATUS = 0x00
const DONE = 0x01

export const clearSel: Command<{ reservation: number; step: 'begin' | 'status' }, { done: boolean }> = {
  name: 'Clear SEL',
  netFn: NETFN.storage,
  command: 0x47,
  encodeRequest({ reservation, step }) {
    const data = Buffer.alloc(6)
    data.writeUInt16LE(reservation)
    data.write(WORD, 2, 'latin1')
    data[5] = step === 'begin' ? BEGIN : STATUS
    return data
  },
  decodeRequest(data) {
    requireLength(data, 6, 'a Clear SEL request')
    const step = data.readUInt8(5)
    if (data.toString('latin1', 2, 5) !== WORD || (step !== BEGIN && step !== STATUS)) {
      throw new WireError('clear-sel', 2, 'not the word that clears the log')
    }
    return { reservation: data.readUInt16LE(0), step: step === BEGIN ? 'begin' : 'status' }
  },
  encodeResponse: ({ done }) => Buffer.from([done ? DONE : 0]),
  decodeResponse(data) {
    requireLength(data, 1, 'a Clear SEL response')
    return { done: (data.readUInt8(0) & 0x0f) === DONE }
  }
}
