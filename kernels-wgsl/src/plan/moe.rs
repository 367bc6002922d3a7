//! The experts of a layer (specification §3.4), beside its dense feed-forward product.

use super::parts::Matmul;
use super::target::Builder;
use super::{Buf, Epilogue, MoeBuf};
use crate::config::MoeConfig;
use crate::registry::Op;

fn moe(role: MoeBuf) -> Buf {
    Buf::Moe(role)
}

impl Builder<'_> {
    /// Router, experts and their sum with the dense branch, which is in [`Buf::Branch`] by then. The sum is in
    /// [`MoeBuf::Mixed`].
    pub(super) fn experts(&mut self, i: usize, config: &MoeConfig) {
        self.route(i, config);
        let norm = format!("layers.{i}.pre_feedforward_layernorm_2.weight");
        self.norm_residual(&norm, MoeBuf::Input);
        let hidden = self.inputs.config.hidden;
        let wide = config.intermediate;
        self.product(
            &format!("layers.{i}.experts.gate_up"),
            (2 * wide, hidden),
            (MoeBuf::Input, MoeBuf::Product, wide),
            Epilogue::GatedPairs,
            config,
        );
        self.product(
            &format!("layers.{i}.experts.down"),
            (hidden, wide),
            (MoeBuf::Product, MoeBuf::Output, hidden),
            Epilogue::Store,
            config,
        );
        let weight = |name: &str| self.vector_at(&format!("layers.{i}.{name}.weight")) / 4;
        let params = vec![
            hidden as u32 / 4,
            config.per_token as u32,
            weight("post_feedforward_layernorm_1"),
            weight("post_feedforward_layernorm_2"),
            self.epsilon(),
        ];
        let bindings = vec![
            Buf::Step,
            Buf::Branch,
            moe(MoeBuf::Output),
            moe(MoeBuf::Shares),
            Buf::Norms,
            moe(MoeBuf::Mixed),
        ];
        self.push(&format!("layers.{i}.mix"), Op::ExpertMix, bindings, params, 1);
    }

    fn route(&mut self, i: usize, config: &MoeConfig) {
        self.norm_residual(&format!("layers.{i}.router.scale"), MoeBuf::RouterIn);
        self.matmul(Matmul {
            label: format!("layers.{i}.router"),
            weights: &format!("layers.{i}.router"),
            rows: config.experts,
            cols: self.inputs.config.hidden,
            step: Buf::Step,
            x: moe(MoeBuf::RouterIn),
            y: moe(MoeBuf::Scores),
            y_stride: config.experts,
            epilogue: Epilogue::Store,
            gate: None,
        });
        let scale = self.vector_at(&format!("layers.{i}.router.per_expert_scale"));
        let params = vec![config.experts as u32, config.per_token as u32, scale];
        let (ids, shares) = (moe(MoeBuf::Ids), moe(MoeBuf::Shares));
        let bindings = vec![Buf::Step, moe(MoeBuf::Scores), Buf::Norms, ids, shares];
        self.push(&format!("layers.{i}.route"), Op::Route, bindings, params, 1);
    }

    /// RMSNorm of the residual with the vector `weight`.
    fn norm_residual(&mut self, weight: &str, to: MoeBuf) {
        let width = self.inputs.config.hidden as u32 / 4;
        let params = vec![width, self.vector_at(weight) / 4, self.epsilon()];
        let bindings = vec![Buf::Step, Buf::Residual, Buf::Norms, moe(to)];
        self.push(weight, Op::Norm, bindings, params, 1);
    }

    /// One matrix product of every expert a token has, once for each buffer that holds some of the experts.
    fn product(
        &mut self,
        name: &str,
        (rows, cols): (usize, usize),
        (x, y, y_stride): (MoeBuf, MoeBuf, usize),
        epilogue: Epilogue,
        config: &MoeConfig,
    ) {
        // The gate and up product reads one row a token, the down product each expert's own.
        let own_rows = usize::from(x == MoeBuf::Product);
        for (part, held) in self.inputs.expert_parts[name].iter().enumerate() {
            let weights = format!("{name}.{part}");
            let matmul = Matmul {
                label: weights.clone(),
                weights: &weights,
                rows,
                cols,
                step: Buf::Step,
                x: moe(x),
                y: moe(y),
                y_stride,
                epilogue,
                gate: Some((moe(MoeBuf::Ids), own_rows, held.start)),
            };
            self.list.push(matmul.of_experts(self.inputs.pieces, held, config.per_token));
        }
    }
}
