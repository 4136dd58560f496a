// A few worker threads and the jobs that wait for one.

import { Worker } from 'node:worker_threads'
import type { JobAnswer, JobKind, Jobs } from './chunk-worker.ts'

export type Workers = {
  /** Rejects with the job's error (its `code` kept), or when the workers are closed. */
  run<K extends JobKind>(kind: K, job: Jobs[K]['job']): Promise<Jobs[K]['result']>
  close(): Promise<void>
}

type Waiting = { message: unknown; resolve: (result: unknown) => void; reject: (error: Error) => void }

export function startWorkers(count: number): Workers {
  const waiting: Waiting[] = []
  const busy = new Map<Worker, Waiting>()
  const idle: Worker[] = []
  let over: Error | undefined

  const next = () => {
    while (idle.length > 0 && waiting.length > 0) {
      const worker = idle.pop() as Worker
      const job = waiting.shift() as Waiting
      busy.set(worker, job)
      worker.postMessage(job.message)
    }
  }
  const end = (error: Error) => {
    over ??= error
    for (const job of [...busy.values(), ...waiting.splice(0)]) job.reject(error)
    busy.clear()
  }

  const workers = Array.from({ length: count }, () => {
    // Without the process's own flags: loaders and source maps would double the time it takes to start.
    const worker = new Worker(new URL('./chunk-worker.ts', import.meta.url), { execArgv: [] })
    worker.on('message', (answer: JobAnswer) => {
      const job = busy.get(worker)
      busy.delete(worker)
      idle.push(worker)
      if ('result' in answer) job?.resolve(answer.result)
      else job?.reject(Object.assign(new Error(answer.error.message), { code: answer.error.code }))
      next()
    })
    // A worker that dies (out of memory) has lost its job, and nobody would answer the ones that wait for it.
    worker.on('error', end)
    idle.push(worker)
    return worker
  })

  return {
    run: <K extends JobKind>(kind: K, job: Jobs[K]['job']) =>
      new Promise<Jobs[K]['result']>((resolve, reject) => {
        if (over) return reject(over)
        waiting.push({ message: { kind, job }, resolve: resolve as (result: unknown) => void, reject })
        next()
      }),
    async close() {
      end(new Error('the workers are closed'))
      await Promise.all(workers.map((worker) => worker.terminate()))
    }
  }
}
