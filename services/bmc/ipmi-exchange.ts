// Commands within one operation: what the files ipmi-*.ts are made of. ipmi.ts makes it out of sessions.

import type { BmcAccess } from '../../src/domain/bmc.ts'
import type { Command } from '../../src/wire/ipmi/command/command.ts'
import type { Answer } from './ipmi-session.ts'

export type Exchange = {
  access: BmcAccess
  /** Milliseconds of the driver's clock. Time spent waiting for a place to log in does not count: it moves this on. */
  deadlineAt: number
  now(): number
  /**
   * One request, whatever its completion code. `no-answer`: it may or may not have been carried out. `once`: no packet is
   * repeated (not every BMC knows a repeated request by its rqSeq), and the session goes on without an answer.
   */
  send<Request>(command: Command<Request, unknown>, request: Request, how?: 'once'): Promise<Answer>
  /** The response of an answer; AppError for a completion code other than 0. */
  read<Response>(command: Command<unknown, Response>, answer: Extract<Answer, { kind: 'reply' }>): Response
  /** A command that may be carried out twice: on no answer it is sent again in a new session, until time is up. */
  ask<Request>(
    command: Command<Request, unknown>,
    request: Request
  ): Promise<Extract<Answer, { kind: 'reply' }>>
  /** `ask`, then `read`. */
  run<Request, Response>(command: Command<Request, Response>, request: Request): Promise<Response>
}
