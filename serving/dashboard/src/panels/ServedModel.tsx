"use client";

import Link from "next/link";
import { useModel } from "@/api/model";
import { useFilters, withFilters } from "@/lib/filters";
import { fixed } from "@/lib/formats";

interface Measure {
  value?: number;
}

/** The model that classifies the messages, and its quality. */
export function ServedModel() {
  const model = useModel().data;
  const [filters] = useFilters();
  const measured = model?.metrics as Record<string, Measure | undefined> | undefined;
  const parts = [
    model?.version,
    measured?.accuracy?.value !== undefined && `accuracy ${fixed(100 * measured.accuracy.value, 1)} %`,
    measured?.macro_recall?.value !== undefined &&
      `macro-recall ${fixed(100 * measured.macro_recall.value, 1)} of 100`,
  ].filter(Boolean);
  return (
    <p className="lead model" data-testid="served-model">
      {model ? (
        <>
          Model <Link href={withFilters("/models/", filters)}>{parts[0]}</Link>
          {parts.length > 1 && `: ${parts.slice(1).join(", ")}`}
        </>
      ) : (
        "Loading the model…"
      )}
    </p>
  );
}
