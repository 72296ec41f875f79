"use client";

import { useState } from "react";
import { keyStore } from "@/api/key";
import type { Wanted } from "@/api/model";
import { curlSnippet, pythonSnippet } from "@/lib/snippets";
import { useStore } from "@/lib/store";
import { CopyButton } from "@/ui/CopyButton";
import { Panel } from "@/ui/Panel";

const KINDS = [
  { kind: "curl", make: curlSnippet },
  { kind: "Python", make: pythonSnippet },
] as const;

/** The same request as a command or a program. */
export function Snippets({ text, targets }: Wanted) {
  const [chosen, choose] = useState<(typeof KINDS)[number]["kind"]>("curl");
  const key = useStore(keyStore);
  const make = KINDS.find(({ kind }) => kind === chosen)?.make ?? curlSnippet;
  const snippet = make(typeof location === "undefined" ? "" : location.origin, { text, targets });
  return (
    <Panel
      name="snippet"
      title="From a program"
      note={
        <>
          The same request. The whole API: <a href="/docs">/docs</a>.
          {key && " This service requires a key: add the header Authorization: Bearer <key>."}
        </>
      }
      actions={
        <>
          {KINDS.map(({ kind }) => (
            <button
              key={kind}
              type="button"
              className="small"
              aria-pressed={kind === chosen}
              onClick={() => choose(kind)}
            >
              {kind}
            </button>
          ))}
          <CopyButton words="Copy" text={() => snippet} />
        </>
      }
    >
      <pre className="snippet" data-testid="snippet">
        <code>{snippet}</code>
      </pre>
    </Panel>
  );
}
