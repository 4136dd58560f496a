// An exchange out of a function: for reports whose turns no simulator takes.

import type { Command } from '../../../src/wire/ipmi/command/command.ts'
import type { Exchange } from '../../../services/bmc/ipmi-exchange.ts'
import type { Answer } from '../../../services/bmc/ipmi-session.ts'
import { AppError } from '../../../src/domain/error.ts'
import { startFakeBmc } from '../../support/fake-bmc.ts'

/** `serve` gives the data of an answer, or a completion code. */
export async function exchange(serve: (command: string, data: Buffer) => Buffer | number): Promise<Exchange> {
  const bmc = await startFakeBmc()
  const access = bmc.access()
  await bmc.close()
  type Reply = Extract<Answer, { kind: 'reply' }>
  const ask = async <Request>(command: Command<Request, unknown>, request: Request): Promise<Reply> => {
    const served = serve(command.name, command.encodeRequest(request))
    return typeof served === 'number'
      ? { kind: 'reply', completionCode: served, data: Buffer.alloc(0) }
      : { kind: 'reply', completionCode: 0, data: served }
  }
  function read<Response>(command: Command<unknown, Response>, { completionCode, data }: Reply): Response {
    if (completionCode !== 0) throw new AppError('bmc-refused', command.name, { completionCode })
    return command.decodeResponse(data)
  }
  return {
    access,
    deadlineAt: performance.now() + 5000,
    now: () => performance.now(),
    send: ask,
    ask,
    read,
    run: async (command, request) => read(command, await ask(command, request))
  }
}
