import type { Metadata } from "next";
import { ModelsView } from "@/panels/ModelsView";

export const metadata: Metadata = { title: "Models" };

export default function Page() {
  return <ModelsView />;
}
