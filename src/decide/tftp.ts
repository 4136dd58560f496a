// A TFTP request → a loader's name, the machine's own script, or a refusal. Paths are never joined to anything: the last
// part of a name is looked up in a table, and that is all a name can do.

import type { Change } from '../domain/change.ts'
import { TFTP_ERROR, type TftpRequest } from '../wire/tftp.ts'
import {
  decideFile,
  fileRefused,
  type BootFacts,
  type BootSettings,
  type FileRefusal,
  type LoaderNames
} from './boot-file.ts'
import { SCRIPT_NAME } from './firmware/architectures.ts'
import { decideScript } from './script.ts'

export type TftpVerdict =
  | { serve: 'loader'; name: string; changes: Change[] }
  | { serve: 'text'; name: string; text: string; changes: Change[] }
  | { serve: 'nothing'; refusal: FileRefusal; code: number; message: string; changes: Change[] }

/** `facts` are those of the asking address. */
export function decideTftp(
  request: TftpRequest,
  facts: BootFacts,
  loaders: LoaderNames,
  settings: BootSettings,
  now: number
): TftpVerdict {
  const refuse = (refusal: FileRefusal, code: number, reason: string, message = reason): TftpVerdict => ({
    serve: 'nothing',
    refusal,
    code,
    message,
    changes: fileRefused(facts, 'tftp', request.file, refusal, reason, now)
  })

  if (request.op === 'write') return refuse('write', TFTP_ERROR.access, 'nothing may be written here')
  if (request.mode !== 'octet' && request.mode !== 'netascii')
    return refuse('unknown-file', TFTP_ERROR.illegal, 'the mode is neither octet nor netascii')
  const name = loaderName(request.file)
  if (name === SCRIPT_NAME) {
    const verdict = decideScript(undefined, facts, settings, now)
    if ('refuse' in verdict) return refuse('stranger', TFTP_ERROR.access, verdict.reason, 'not enrolled')
    return { serve: 'text', name, text: verdict.script, changes: verdict.changes }
  }
  // The gate before the name: a stranger learns nothing of what there is.
  const verdict = decideFile({ file: 'loader', name }, facts)
  if (!verdict.serve)
    return refuse(
      verdict.refusal,
      TFTP_ERROR.access,
      verdict.reason,
      verdict.refusal === 'stranger' ? 'not enrolled' : verdict.reason
    )
  if (!loaders.has(name)) return refuse('unknown-file', TFTP_ERROR.notFound, 'no such file')
  return { serve: 'loader', name, changes: [] }
}

/** The last part of a path with slashes of either kind, in lower case: firmware is not careful with either. */
export function loaderName(path: string): string {
  return path.slice(Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\')) + 1).toLowerCase()
}
