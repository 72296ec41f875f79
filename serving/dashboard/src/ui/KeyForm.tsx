"use client";

import { useState } from "react";
import { healthStore, report } from "@/api/health";
import { keepKey, keyStore } from "@/api/key";
import { useStore } from "@/lib/store";

/** A form for the API key that the service requires. */
export function KeyForm() {
  const [key, setKey] = useState("");
  const { keyError } = useStore(healthStore);
  return (
    <form
      className="panel key"
      data-testid="state-key"
      onSubmit={(event) => {
        event.preventDefault();
        keepKey(key.trim());
        report({ keyError: null });
      }}
    >
      <h2>This service requires a key</h2>
      {keyStore.get() && <p>The key in this tab was rejected.</p>}
      <p>
        The operator of the service creates one with <code>groundswell keys add</code>. It is kept in this tab
        only, until you close it.
      </p>
      <label className="field">
        <span>Key</span>
        <input
          type="password"
          autoComplete="off"
          placeholder="gs_…"
          required
          value={key}
          onChange={(event) => setKey(event.target.value)}
        />
      </label>
      {keyError && <p className="note">The service responded: {keyError}</p>}
      <button type="submit">Use this key</button>
    </form>
  );
}
